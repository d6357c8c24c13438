"""The Python client over a line that loses and reorders, in virtual time: what is lost is found by what was answered,
what is only late is not repeated, nothing is repeated without measure. As test_recovery.c says of the C client."""
import heapq
import itertools
import socket
import struct
import unittest
from unittest import mock

import sluice_client
from sluice_client import WINDOW, Client, Unacknowledged
from sluice_loss import SHARE
from test_sluice_client import Peer

EVENTS, SEEDS = 3000, 1


class Line(Peer):
    """Socket, poll and clock of the client, and the peer at the other end. Lengths in seconds."""
    family, POLLIN, POLLOUT = socket.AF_INET, 1, 4

    def __init__(self, seed, loss=0.0, delay=0.0005):
        super().__init__()
        self.socket.close()
        self.random.seed(seed)
        self.there_loss = self.back_loss = loss
        self.delay, self.late_part, self.late_by, self.double, self.cut = delay, 0.0, 0.0, 0.0, False
        self.commit, self.partitions = [0.001], 1
        self.lose = lambda first, count: False
        self.now, self.way, self.inbox, self.order, self.sent = 1000.0, [], [], itertools.count(), 0

    # what the client is given

    def getsockopt(self, *_):
        return 1500

    def fileno(self):
        return -1

    def close(self):
        pass

    def monotonic(self):
        return self.now

    def send(self, data):
        self.sent += 1
        if not self.lose(*struct.unpack_from("<QH", data, 16)):
            self.put(self.there_loss, self.delay, self.take, data)

    def recv(self, _):
        self.run(self.now)
        if not self.inbox:
            raise BlockingIOError
        return self.inbox.pop(0)

    def poll(self, *timeout):  # select.poll(), and that of what it gives
        if not timeout:
            return self
        end = float("inf") if timeout[0] is None else self.now + timeout[0] / 1000
        self.run(self.now)
        while not self.inbox and self.way and self.way[0][0] <= end:
            self.now = self.way[0][0]
            self.run(self.now)
        if not self.inbox:
            assert end < float("inf"), "nothing would ever come"
            self.now = end
        return None

    def register(self, *_):
        pass

    # the way and its other end

    def put(self, loss, after, what, data):
        if self.cut or self.chance(loss):
            return
        for _ in range(1 + self.chance(self.double)):
            late = self.random.random() * self.late_by if self.chance(self.late_part) else 0.0
            heapq.heappush(self.way, (self.now + after + late, next(self.order), what, data))

    def run(self, until):
        now = self.now
        while self.way and self.way[0][0] <= until:
            self.now, _, what, data = heapq.heappop(self.way)
            what(data)
        self.now = now

    def ack(self, ranges=(), refusals=(), producer=None, number=9):
        """One for each partition."""
        for partition in range(self.partitions):
            mask = sum(1 << i for i in range(partition, 64, self.partitions))
            mine = [(first, bits) for first, bits in
                    ((first, bits & self.rotated(mask, first)) for first, bits in ranges) if bits]
            told = [r for r in refusals if r[0] % self.partitions == partition]
            if mine or told:
                after = self.commit[partition % len(self.commit)] + self.delay
                self.put(self.back_loss, after, self.inbox.append, super().ack(mine, told, producer, number))

    def rotated(self, mask, first):
        """The bits of a partition's sequences in a range from `first` on; first is 1 or a multiple of 64."""
        return mask >> 1 | mask << (self.partitions - 1) if first == 1 else mask

    def answer(self, data):
        pass


class RecoveryTest(unittest.TestCase):
    def start(self, seed=1, **options):
        self.line = Line(seed, **options)
        for name, value in (("time", self.line), ("select", self.line), ("connect", lambda *_: self.line)):
            patch = mock.patch.object(sluice_client, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        self.client = Client("a line", 1)
        return self.client, self.line

    def wait_until(self, at):
        while self.line.now < at:
            self.client.poll(at - self.line.now)

    def send(self, first, last, gap=0.0):
        due = self.line.now
        for i in range(first, last + 1):
            self.wait_until(due)
            self.client.send(b'{"type":"log","message":"%s","number":%d}' % (b"x" * (i * 37 % 60), i))
            due += gap

    def deliver(self, events=EVENTS, gap=0.0):
        """Everything is there, whole, and the client knows it; returns how long it took."""
        began = self.line.now
        self.send(1, events, gap)
        self.client.flush()
        self.assertEqual(self.line.events.keys(), set(range(1, events + 1)))
        n = self.client.counts()
        self.assertEqual((n.accepted, n.acked + n.refused, n.outstanding, n.never_sent), (events, events, 0, 0))
        self.assertEqual(n.refused, len(self.line.refuse))
        return self.line.now - began

    def average(self, gap=0.0, prepare=lambda line: None, events=EVENTS, **options):
        """(seconds, events repeated)"""
        seconds = repeated = 0
        for seed in range(1, SEEDS + 1):
            client, line = self.start(seed, **options)
            prepare(line)
            seconds += self.deliver(events, gap) / SEEDS
            repeated += client.counts().repeated / SEEDS
        return seconds, repeated

    def test_loss(self):
        """All arrives at every loss; what is repeated is what the loss asks for."""
        for loss, delay, most, most_paced, events in (
                (0, 0.0005, 0.01, 7.6, EVENTS), (0.01, 0.0005, 0.015, 7.6, EVENTS), (0.05, 0.0005, 0.025, 7.6, EVENTS),
                (0.2, 0.0005, 0.05, 7.6, EVENTS), (0.2, 0.05, 2.5, 8.5, EVENTS), (0.5, 0.0005, 1, 4, 1000),
                (0.5, 0.05, 4, 16, 1000)):
            expected = events * ((1 - loss) ** -2 - 1)
            for gap, bound in ((0, most), (0.0025, most_paced)):
                seconds, repeated = self.average(gap, loss=loss, delay=delay, events=events)
                print(f"{events} events, loss {loss:.0%} each way, delay {delay * 1000} ms{', paced' if gap else ''}: "
                      f"{seconds:.3f} s, {repeated:.0f} repeats, {expected:.0f} expected")
                self.assertLess(seconds, bound)
                self.assertTrue(0.6 * expected <= repeated <= 1.4 * expected, repeated)

    def test_answers_lost(self):
        def prepare(line):
            line.back_loss = 0.3
        seconds, repeated = self.average(prepare=prepare, delay=0.005)
        self.assertLess(seconds, 0.5)
        self.assertLess(repeated, 1.15 * EVENTS * (1 / 0.7 - 1))

    def test_worst(self):
        def prepare(line):
            line.late_part, line.late_by, line.double, line.partitions = 0.2, 0.02, 0.1, 4
            line.refuse = {b'{"type":"log","message":"%s","number":%d}' % (b"x" * (i * 37 % 60), i): 40
                           for i in range(500, EVENTS + 1, 500)}
        self.assertLess(self.average(0.0025, prepare, loss=0.2)[0], 15.5)
        self.assertLess(self.average(0, prepare, loss=0.2)[0], 5)

    def test_reordered(self):
        """Nothing is lost: repeats are few, once the client has learned how late things are here."""
        def late(by):
            def prepare(line):
                line.late_part, line.late_by = 0.2, by
            return prepare

        def slow_partition(line):
            line.partitions, line.commit = 4, [0.001, 0.01, 0.001, 0.001]

        for prepare, delay, gap, part in (
                (late(0.002), 0.005, 0, 0.005), (late(0.002), 0.005, 0.0025, 0.002), (late(0.02), 0.005, 0, 0.12),
                (late(0.02), 0.005, 0.0025, 0.015), (late(0.02), 0.0005, 0.0025, 0.12),
                (slow_partition, 0.0005, 0, 0.12), (slow_partition, 0.0005, 0.00025, 0.02),
                (slow_partition, 0.0005, 0.0025, 0.003)):
            _, repeated = self.average(gap, prepare, delay=delay)
            print(f"no loss, reordered: {repeated:.0f} of {EVENTS} repeated")
            self.assertLessEqual(repeated, EVENTS * part)

    def lose(self, victim, losses):
        """The datagrams with this event, so often; returns when they left."""
        left = []

        def decide(first, count):
            if not first <= victim < first + count:
                return False
            left.append(self.line.now)
            return len(left) <= losses
        self.line.lose = decide
        return left

    def test_repeats_lost(self):
        """Each is found a round trip and the window after the one before, none is doubled."""
        client, _ = self.start(delay=0.01)
        left = self.lose(300, 8)
        self.deliver(600, 0.0025)
        self.assertEqual((len(left), client.counts().repeated), (9, 8))
        for before, after in zip(left, left[1:]):
            self.assertTrue(0.021 <= after - before <= 0.033, after - before)

    def test_tail(self):
        """Nothing later tells of the last one: once more after two round trips, then twice after the time-out."""
        self.start(delay=0.01)
        left = self.lose(400, 4)
        self.deliver(400, 0.0025)
        gaps = [after - before for before, after in zip(left, left[1:])]
        self.assertTrue(0.04 <= gaps[0] <= 0.044 and 0.021 <= gaps[1] <= 0.03 and 0.042 <= gaps[3] <= 0.06, gaps)
        self.assertEqual((len(gaps), gaps[2], gaps[4]), (5, 0, 0))
        self.wait_until(self.line.now + 0.1)
        self.assertEqual(self.client.counts().settled_again, 1)  # both of the last two were answered:
        self.assertTrue(not self.client.rack.widenings and not self.client.rto.doubted)  # no repeat was needless

    def test_silence(self):
        """A peer that is away is asked with two datagrams at most at a time, ever less often; what is repeated when it
        is back grows with what it answers."""
        client, line = self.start(delay=0.005)
        self.send(1, 1000, 0.0025)
        client.flush()
        line.cut = True
        self.send(1001, 2024, 0.0001)
        sent = line.sent
        self.wait_until(line.now + 60)
        self.assertTrue(25 <= line.sent - sent <= 40)
        self.assertEqual(client.counts().outstanding, 1024)
        line.cut, sent = False, line.sent
        while client.counts().acked == 1000:
            client.poll(0.01)
        back = line.now
        self.assertLessEqual(line.sent - sent, 14)
        client.flush()
        self.assertLess(line.now - back, 0.1)
        self.assertLess(line.sent - sent, 110)

    def test_longer_way(self):
        """For a sender that waits for each answer: after a few repeats it has been measured anew."""
        client, line = self.start()
        for i in range(1, 201):
            if i == 101:
                line.delay = 0.1
            if i == 131:
                repeated = client.counts().repeated
            self.send(i, i)
            client.flush()
        self.assertLessEqual(repeated, 40)
        self.assertEqual(client.counts().repeated, repeated)

    def test_share(self):
        """One partition of four takes nothing: its events are repeated, but not without measure."""
        client, line = self.start()
        end = line.now + 2
        line.lose = lambda first, count: count == 1 and first % 4 == 0 and line.now < end
        for i in range(1, 901):
            self.send(i, i)
            self.wait_until(line.now + 0.002)
            n = client.counts()
            self.assertLessEqual(n.repeated, SHARE * n.acked)
        client.flush()
        self.assertEqual(len(line.events), 900)

    def dead_partition(self, seed, loss, delay, gap):
        """One partition of four makes nothing durable, answers are lost, all of the last ones before the window is
        full: so nothing more is settled that would allow repeats. How long it takes then to settle the others."""
        client, line = self.start(seed, delay=delay)
        line.partitions, line.commit = 4, [0.001] * 4
        self.send(1, 400, gap)
        client.flush()
        line.commit[1], line.back_loss = 1e9, loss
        due = line.now
        with self.assertRaises(Unacknowledged):
            for i in range(401, 401 + 2 * WINDOW):
                self.wait_until(due)
                if i == 401 + WINDOW - 20:
                    line.back_loss = 1.0
                client.send(b"%d" % i, 0)
                due += gap
        self.wait_until(line.now + 2 * delay + 0.002)
        line.back_loss, began = loss, line.now
        while any(sequence % 4 != 1 for sequence in client.slots) and line.now < began + 600:
            self.wait_until(line.now + 0.01)
        return line.now - began

    def test_dead_partition(self):
        for loss, delay, gap, most in ((0.01, 0.0005, 0.00025, 0.2), (0.05, 0.0005, 0.0025, 0.2),
                                       (0.2, 0.0005, 0.00025, 5), (0.05, 0.025, 0.0025, 5)):
            longest = max(self.dead_partition(seed, loss, delay, gap) for seed in (1, 2, 3))
            print(f"a dead partition, answers lost {loss:.0%}, delay {delay * 1000} ms: {longest:.2f} s")
            self.assertLess(longest, most)

    def test_full_window(self):
        """A peer that is mute from the beginning: no event goes out beyond the window."""
        client, line = self.start()
        line.cut = True
        with self.assertRaises(Unacknowledged):
            for i in range(2000):
                client.send(b"%d" % i, 20)
        self.assertEqual(client.counts().accepted, 1024)


if __name__ == "__main__":
    unittest.main()
