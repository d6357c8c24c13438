"""The Python client against a UDP peer of the test's own: what it sends, repeats, keeps and believes."""
import collections
import hashlib
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

import sluice_client
from sluice_client import Client, Forked, Refused, TooBig, Unacknowledged
from sluice_loss import Rack, Rto

KEY = bytes(range(32))


class Peer:
    """Reads DATA by docs/protocol.md and answers as the test says; own reader and writer of the format."""

    def __init__(self, family=socket.AF_INET, port=0, key=None):
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind(("127.0.0.1" if family == socket.AF_INET else "::1", port))
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]
        self.key, self.random = key, random.Random(7)
        self.loss = self.twice = self.late = 0.0
        self.refuse, self.mute, self.held = {}, False, []
        self.events, self.again, self.datagrams, self.largest = {}, 0, 0, 0
        self.producer = self.source = self.flags = None

    def close(self):
        self.socket.close()

    def sign(self, data):
        return data + (hashlib.blake2b(data, digest_size=16, key=self.key).digest() if self.key else b"")

    def ack(self, ranges=(), refusals=(), producer=None, number=9):
        head = b"SLCE\1\2" + bytes([2, number] if self.key else [0, 0]) + struct.pack(
            "<QHHI", producer or self.producer, len(ranges), len(refusals), 0)
        return self.sign(head + b"".join(struct.pack("<QQ", *r) for r in ranges) +
                         b"".join(struct.pack("<QH", *r) for r in refusals))

    def answer(self, data):
        self.socket.sendto(data, self.source)

    def chance(self, part):
        return self.random.random() < part

    def pump(self):
        while True:
            try:
                data, source = self.socket.recvfrom(65536)
            except BlockingIOError:
                break
            self.source = source
            if not self.chance(self.loss):
                self.take(data)
        if self.chance(0.5):
            while self.held:
                self.answer(self.held.pop())

    def take(self, data):
        flags, number, self.producer, first, count, encoding = struct.unpack_from("<6xBBQQHB", data)
        assert data[:6] == b"SLCE\1\1" and data[27:32] == bytes(5) and encoding == 1 and 1 <= count <= 1024
        assert flags & ~1 == (2 if self.key else 0) and number == (9 if self.key else 0), (flags, number)
        self.flags, self.datagrams, self.largest = flags, self.datagrams + 1, max(self.largest, len(data))
        end = len(data) - (16 if self.key else 0)
        assert self.sign(data[:end]) == data
        at, ranges, refusals = 32, collections.Counter(), []
        for sequence in range(first, first + count):
            size, = struct.unpack_from("<H", data, at)
            event = data[at + 2:at + 2 + size]
            at += 2 + size
            self.again += sequence in self.events
            assert self.events.setdefault(sequence, event) == event, "a repetition is the same event"
            if event in self.refuse:
                refusals.append((sequence, self.refuse[event]))
            else:
                ranges[sequence // 64 * 64 or 1] |= 1 << (sequence - (sequence // 64 * 64 or 1))
        assert at == end
        if flags & 1 and not self.mute and not self.chance(self.loss):
            answer = self.ack(list(ranges.items()), refusals)
            if self.chance(self.late):
                self.held.append(answer)
                return
            self.answer(answer)
            if self.chance(self.twice):
                self.answer(answer)


class ClientTest(unittest.TestCase):
    def start(self, family=socket.AF_INET, **options):
        self.peer = Peer(family)
        self.addCleanup(self.peer.close)
        self.client = Client("127.0.0.1" if family == socket.AF_INET else "::1", self.peer.port, **options)
        self.addCleanup(self.client.close)
        return self.client, self.peer

    def send(self, count, first=1):
        for i in range(first, first + count):
            while True:
                try:
                    self.client.send(b'{"n":%d}' % i, 0.001)
                    break
                except Unacknowledged:
                    self.peer.pump()
            self.assertLess(self.client.next - next(iter(self.client.slots), self.client.next), 1025)

    def flush(self):
        for _ in range(100000):
            try:
                return self.client.flush(0.001)
            except Unacknowledged:
                self.peer.pump()
        self.fail("not flushed")

    def expect(self, count, refused=0):
        self.assertEqual(self.peer.events, {i: b'{"n":%d}' % i for i in range(1, count + 1)})
        n = self.client.counts()
        self.assertEqual((n.accepted, n.acked, n.refused, n.outstanding), (count, count - refused, refused, 0))
        self.assertEqual((self.client.held_bytes, self.client.queued_bytes), (0, 0))

    def test_all_acked(self):
        for family in (socket.AF_INET, socket.AF_INET6):
            client, peer = self.start(family)
            self.send(3000)
            self.flush()
            self.expect(3000)
            self.assertTrue(1300 < peer.largest <= 1400 and peer.flags == 1 and peer.producer == client.producer)
            n = client.counts()
            self.assertEqual(n.ignored_malformed + n.ignored_producer + n.ignored_mac + n.never_sent, 0)
            self.assertGreater(n.rtt, 0)

    def test_bad_line(self):
        client, peer = self.start()
        peer.loss, peer.twice, peer.late = 0.2, 0.2, 0.3
        self.send(3000)
        self.flush()
        self.expect(3000)
        self.assertGreater(client.counts().repeated, 100)
        self.assertGreater(client.counts().settled_again, 100)

    def test_window(self):
        client, peer = self.start()
        peer.mute = True
        with self.assertRaises(Unacknowledged):
            for i in range(1, 2000):
                client.send(b'{"n":%d}' % i, 0)
        self.assertEqual(client.counts().accepted, 1024)
        peer.pump()
        peer.mute = False
        self.send(100, 1025)
        self.flush()
        self.expect(1124)

    def test_bytes(self):
        client, peer = self.start(window_bytes=65536)
        peer.mute = True
        client.send(b"x" * 30000, 0)
        client.send(b"x" * 30000, 0)
        with self.assertRaises(Unacknowledged):
            client.send(b"x" * 30000, 0)
        peer.mute = False
        self.flush()
        self.assertEqual(client.counts().acked, 2)

    def test_refusals(self):
        told = []
        client, peer = self.start(on_refused=lambda *a: told.append(a))
        peer.refuse = {b'{"n":%d}' % i: 22 for i in range(10, 1001, 10)}
        peer.loss = 0.1
        self.send(1000)
        self.flush()
        self.expect(1000, refused=100)
        self.assertEqual(client.counts().refused_by, {22: 100})
        self.assertEqual([sluice_client.reason_name(i) for i in (0, 22, 99)], ["too_big", "missing_field", "reason 99"])
        self.assertEqual(sorted(told), [(i, 22, b'{"n":%d}' % i) for i in range(10, 1001, 10)])

    def test_with(self):
        client, peer = self.start(close_timeout=0.2)
        peer.mute = True
        with self.assertRaises(Unacknowledged), client:
            client.send({"a": "\u00e4"})
        peer.pump()
        self.assertEqual(peer.events, {1: b'{"a":"\\u00e4"}'})
        self.assertEqual(client.fileno(), -1)
        client, peer = self.start()
        with self.assertRaisesRegex(Refused, "^3 events: {'bad_json': 2, 'reason 99': 1}$"), client:
            peer.refuse = {b"{}": 20, b"[]": 99}
            for event in ("{}", "[]", "{}"):
                client.send(event)
            self.flush()

    def test_reject(self):
        client, peer = self.start()
        peer.mute = True
        client.send(b"{}")
        with self.assertRaises(Unacknowledged):
            client.flush(0)
        peer.pump()
        peer.answer(b"SLCE\1\3\0\0" + struct.pack("<QH6x", peer.producer, 15))
        while not client.counts().rejects:
            client.poll(0.01)
        peer.mute = False
        self.flush()
        n = client.counts()
        self.assertEqual((n.acked, n.rejects, n.reject_reason), (1, 1, 15))

    def nothing_settled(self, data):
        before = dict(self.client.slots)
        self.client.take(data, 1e9)
        self.assertEqual(self.client.slots, before)

    def test_hostile(self):
        client, peer = self.start()
        peer.mute = True
        self.send(10)
        with self.assertRaises(Unacknowledged):
            client.flush(0)
        peer.pump()
        beyond = peer.ack([(11, 2**64 - 1), (2**63 - 1, 2**64 - 1), (1000, 1), (5, 0)], [(11, 20), (2**63 - 1, 40)])
        self.nothing_settled(beyond)
        self.assertEqual(client.counts().never_sent, 64 + 64 + 1 + 2)
        for cut in range(len(beyond)):
            self.nothing_settled(beyond[:cut])
        real = peer.ack([(1, 0x3ff)], [(1, 20)])
        for at in (*range(8), 16, 17, 18, 19, *range(20, 24)):
            self.nothing_settled(real[:at] + bytes([real[at] ^ 0x40]) + real[at + 1:])
        self.nothing_settled(peer.ack([(0, 1)]))
        self.nothing_settled(peer.ack([(2**63, 1)]))
        self.nothing_settled(peer.ack([(1, 0x3ff)], [(1, 0)]))
        self.nothing_settled(peer.ack([(1, 0x3ff)], producer=peer.producer ^ 1))
        peer.key = KEY
        self.nothing_settled(peer.ack([(1, 0x3ff)]))
        peer.key = None
        self.assertEqual(client.counts().ignored_malformed, len(beyond) + 16 + 3)
        self.assertEqual((client.counts().ignored_producer, client.counts().ignored_mac), (1, 1))
        peer.answer(real)
        self.flush()
        self.expect(10)

    def key_file(self, text):
        f = tempfile.NamedTemporaryFile("w", suffix=".keys")
        self.addCleanup(f.close)
        f.write(text)
        f.flush()
        return f.name

    def test_signed(self):
        client, peer = self.start_signed()
        peer.mute = True
        self.send(10)
        with self.assertRaises(Unacknowledged):
            client.flush(0)
        peer.pump()
        real = peer.ack([(1, 0x3ff)])
        for at in range(24, len(real)):
            self.nothing_settled(real[:at] + bytes([real[at] ^ 4]) + real[at + 1:])
        self.nothing_settled(peer.ack([(1, 0x3ff)], number=8))
        peer.answer(b"SLCE\1\3\0\0" + struct.pack("<QH6x", peer.producer, 15))
        while not client.counts().rejects:
            client.poll(0.01)
        peer.key = None
        self.nothing_settled(peer.ack([(1, 0x3ff)]))
        peer.key = KEY
        self.assertEqual(client.counts().ignored_mac, len(real) - 24 + 2)
        peer.mute, peer.loss = False, 0.2
        self.send(1000, 11)
        self.flush()
        self.expect(1010)

    def start_signed(self):
        self.peer = Peer(key=KEY)
        self.addCleanup(self.peer.close)
        path = self.key_file(f"8 {'00' * 32}\n9 {KEY.hex().upper()}\n")
        self.client = Client("127.0.0.1", self.peer.port, key_file=path, key=9)
        self.addCleanup(self.client.close)
        return self.client, self.peer

    def test_key_file(self):
        good = f"7 {KEY.hex()}\n"
        self.assertEqual(sluice_client.load_key(self.key_file("\n" + good + "\n"), 0), (7, KEY))
        self.assertEqual(sluice_client.load_key(self.key_file(good + f"255 {'00' * 32}"), 255), (255, bytes(32)))
        for text, number in ((good + f"8 {KEY.hex()}", 0), (good, 8), (good + good, 7), ("", 0), ("\n", 0),
                             (f"0 {KEY.hex()}", 0), (f"256 {KEY.hex()}", 0), (f"7  {KEY.hex()}", 0),
                             (f"7 {KEY.hex()}0", 0), (f"7 {KEY.hex()} \n", 0), ("7 00\n", 0),
                             (f"7 {'0x' * 32}", 0), (f"+7 {KEY.hex()}", 0)):
            with self.assertRaises(ValueError, msg=text):
                sluice_client.load_key(self.key_file(text), number)

    def test_fork(self):
        client, _ = self.start()
        self.send(5)
        child = os.fork()
        if not child:
            good = 0
            for call in (lambda: client.send(b"{}"), client.poll, client.flush):
                try:
                    call()
                except Forked:
                    good += 1
            os._exit(0 if good == 3 and client.close() == 5 else 1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.flush()
        self.expect(5)

    def test_refused_connection(self):
        client, peer = self.start()
        peer.close()
        self.send_blind(50)
        while not client.counts().unreachable:
            with self.assertRaises(Unacknowledged):
                client.flush(0.05)
        self.peer = Peer(port=peer.port)
        self.addCleanup(self.peer.close)
        self.flush()
        self.expect(50)

    def send_blind(self, count):
        for i in range(1, count + 1):
            self.client.send(b'{"n":%d}' % i)

    def test_no_ack(self):
        client, peer = self.start(ack=False)
        for part in range(20):
            self.send(500, part * 500 + 1)
            client.flush(1)
            peer.pump()
        self.assertEqual(peer.events, {i: b'{"n":%d}' % i for i in range(1, 10001)})
        n = client.counts()
        self.assertEqual((n.sent, n.outstanding, peer.flags, peer.again), (10000, 0, 0, 0))
        peer.answer(peer.ack([(1, 1)]))
        while not client.counts().ignored_malformed:
            client.poll(1)

    def test_unblocked(self):
        client, _ = self.start()
        self.send(5)
        client.blocked = True
        self.assertEqual(client.wait_seconds(), 0.001)
        self.flush()
        self.assertFalse(client.blocked)

    def test_sizes(self):
        client, peer = self.start()
        with self.assertRaises(ValueError):
            client.send(b"")
        with self.assertRaises(TooBig):
            client.send(b"x" * 65474)
        client.send(b"x" * 65473)
        client.send(b"y")
        self.flush()
        self.assertEqual({k: len(v) for k, v in peer.events.items()}, {1: 65473, 2: 1})

    def test_options(self):
        for wrong in ({"datagram_bytes": 255}, {"datagram_bytes": 65508}, {"window": 0}, {"window": 1025},
                      {"window_bytes": 65535}, {"key": 1}):
            with self.assertRaises(ValueError):
                Client("127.0.0.1", 9, **wrong)
        with self.assertRaises(OSError):
            Client("host.invalid", 9)
        with self.assertRaises(OSError):
            Client("127.0.0.1", 9, key_file="/nowhere/keys")

    def test_imports(self):
        """Beside its other files on the path, and in a package."""
        here = os.path.dirname(sluice_client.__file__)
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(here, os.path.join(folder, "senders"), ignore=shutil.ignore_patterns("__pycache__"))
            for path, name in ((here, "sluice_client"), (folder, "senders.sluice_client")):
                code = f"import sys; sys.path[0] = {path!r}; from {name} import Client"
                env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
                subprocess.run([sys.executable, "-c", code], env=env, cwd="/", check=True)

    def test_ack_max(self):
        for refusals, size in ((4, 1200), (5, 1210)):
            data = struct.pack("<4sBBBBQHHI", b"SLCE", 1, 2, 0, 0, 1, 71, refusals, 0)
            data += struct.pack("<QQ", 1, 1) * 71 + struct.pack("<QH", 1, 40) * refusals
            self.assertEqual((len(data), sluice_client.read_ack(data) is None), (size, size > 1200))

    def test_rto(self):
        r = Rto()
        self.assertEqual(r.wait(), 1.0)
        r.measured(0.1, 1)
        self.assertAlmostEqual(r.doubled(0), 0.3)
        self.assertAlmostEqual(r.wait(), 0.2)
        r.measured(0.06, 2)
        self.assertAlmostEqual(r.doubled(0), 0.285)
        r.timed_out()
        self.assertAlmostEqual(r.wait(), 0.285)
        r.timed_out()
        self.assertAlmostEqual(r.wait(), 0.57)
        r.doubted = True
        r.answered()
        self.assertAlmostEqual(r.wait(), 0.57)
        self.assertEqual(r.doubled(9), 5.0)
        r.measured(0.07, 3)
        self.assertTrue(not r.timeouts and not r.doubted)
        self.assertEqual(r.least(), 0.06)
        r.measured(0.08, 62)
        self.assertEqual(r.least(), 0.06)
        r.measured(0.09, 122)
        self.assertEqual(r.least(), 0.08)

    def test_rack(self):
        r = Rto()
        k = Rack(r)
        self.assertEqual(k.wait(), 1.0)  # nothing is known
        r.measured(0.04, 1)
        self.assertAlmostEqual(k.wait(), 0.05)
        k.premature(2)
        k.premature(2.039)  # once in a round trip
        self.assertAlmostEqual(k.wait(), 0.06)
        for i in range(3, 30):
            k.premature(i)
        self.assertAlmostEqual(k.wait(), 0.04 + r.base)
        for i in range(16):
            self.assertAlmostEqual(k.wait(), 0.04 + r.base)
            k.spent(1)  # that something is repeated says nothing yet
            k.needed(40 + i)
            k.needed(40.03 + i)
        self.assertAlmostEqual(k.wait(), 0.05)
        k.settled(10, 1024)
        k.spent(11)
        self.assertEqual(k.credit, 29)
        k.settled(1000, 1024)
        self.assertEqual(k.credit, 1024)
        for sequence, base in ((5, 6), (6, 7 + 1024)):  # an answer more counts once for each repeat, and not long after
            k.mark_repeated(sequence)
            for i in range(5):
                k.settled_again(sequence, base, 200 + i)
        self.assertEqual((k.widenings, k.credit), (1, 1020))


if __name__ == "__main__":
    unittest.main()
