"""Sender of the sluice datagram protocol (docs/protocol.md): JSON events over UDP with sequences, repeated until
sluice says that they are durable, or, with ack=False, sent once. This module, sluice_loss.py and sluice_reasons.py
beside it, on the path or in a package, standard library only, Python 3.9+.

    with Client("ingest.example", 5140) as client:
        client.send({"type": "log", "message": "hello"})

At the end of the block every event is durable, or Unacknowledged or Refused is raised.

Threads: a client is used by one thread at a time. Nothing runs in the background: what is due (linger, repetition,
reading of answers) happens inside send(), poll() and flush(). Memory is bounded by window_bytes. After a fork the child
can only close. The sender's own crash: its successor has another identity, so what it sends again is known to sluice
only by its event_id."""
import collections
import errno
import hashlib
import hmac
import itertools
import json
import os
import secrets
import select
import socket
import struct
import sys
import time

if __package__:
    from .sluice_loss import NEVER, WINDOW, Rack, Rto, Slot, runs_of
    from .sluice_reasons import reason_name
else:
    from sluice_loss import NEVER, WINDOW, Rack, Rto, Slot, runs_of
    from sluice_reasons import reason_name

__all__ = ["Client", "Counts", "Error", "Forked", "Refused", "TooBig", "Unacknowledged", "reason_name"]

MAGIC, VERSION, DATA, ACK, REJECT = b"SLCE", 1, 1, 2, 3
WANTS_ACK, HAS_MAC, MAC_BYTES = 1, 2, 16
HEAD = struct.Struct("<4sBBBBQQHB5x")  # of DATA
ACK_HEAD = struct.Struct("<4sBBBBQHHI")
RANGE, REFUSAL = struct.Struct("<QQ"), struct.Struct("<QH")
REJECTION = struct.Struct("<4sBBHQH6s")
SIZE = struct.Struct("<H")
SEQUENCE_MAX, EVENT_MAX, DATAGRAM_MAX, ACK_MAX = 2**63 - 1, 65535, 65507, 1200
RETRY, SHORTAGE = 0.1, 0.005  # seconds after which what the system refused to send is tried again
# Of Linux; the socket module does not name them all.
MTU = {socket.AF_INET: (socket.IPPROTO_IP, 10, 14, 28), socket.AF_INET6: (socket.IPPROTO_IPV6, 23, 24, 48)}
LINUX = sys.platform.startswith("linux")


class Error(Exception):
    """What this module raises. The event of a send() that raises was not taken."""


class Unacknowledged(Error):
    """Not settled in time; all is kept and may be waited for again."""


class Refused(Error):
    """At the end of a with block: events that sluice will never take."""


class TooBig(Error):
    """The event does not fit into one datagram of the path's MTU."""


class Forked(Error):
    """The identity and the events are the parent's."""


class Counts:
    """accepted = acked + refused + outstanding; with ack=False: accepted = sent + refused + outstanding."""

    def __init__(self):
        self.accepted = self.sent = self.repeated = self.acked = self.refused = self.outstanding = 0
        self.refused_by = collections.Counter()  # by reason: id in docs/drops.md, or 0; reason_name()
        self.datagrams = self.answers = self.settled_again = self.never_sent = 0
        self.ignored_malformed = self.ignored_producer = self.ignored_mac = 0
        self.rejects = self.reject_reason = 0  # the peer understands another version: a hint, it is not signed
        self.unreachable = self.send_errors = self.last_error = 0
        self.rtt = self.rto = 0.0  # seconds; rtt 0: not measured yet


def load_key(path, number):
    """(number, key). number 0: the file's only one."""
    keys = {}
    with open(path, encoding="ascii", newline="\n") as f:
        for at, line in enumerate(f, 1):
            if line == "\n":
                continue
            head, _, text = line.removesuffix("\n").partition(" ")
            good = head.isdecimal() and len(head) <= 3 and 1 <= int(head) <= 255 and int(head) not in keys
            if not good or len(text) != 64 or not set(text) <= set("0123456789abcdefABCDEF"):
                raise ValueError(f"{path}:{at}: not a number (1 to 255, each once), a space and 64 hexadecimal digits")
            keys[int(head)] = bytes.fromhex(text)
    if not number and len(keys) > 1:
        raise ValueError(f"{path}: {len(keys)} keys; the number of one must be given")
    number = number or next(iter(keys), 0)
    if number not in keys:
        raise ValueError(f"{path}: there is no key {number} in it")
    return number, keys[number]


def connect(host, port):
    last = OSError(errno.EHOSTUNREACH, f"{host}: no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
        try:
            s = socket.socket(family, kind, protocol)
        except OSError as e:
            last = e
            continue
        try:
            s.setblocking(False)
            if LINUX:  # where one fragment is lost all is: rather an error here
                s.setsockopt(MTU[family][0], MTU[family][1], 2)
            s.connect(address)
            return s
        except OSError as e:
            s.close()
            last = e
    raise last


class Client:
    """host: name or address, IPv4 or IPv6. ack: ask for answers and repeat. key_file, key: sign, and take only signed
    answers. datagram_bytes: UDP payload that events are packed into. window (events), window_bytes: what may be
    outstanding. linger: seconds that an event may wait for others. on_refused(sequence, reason, event): for each event
    that will never be taken; it may not use the client. close_timeout: seconds that the end of a with block waits."""

    def __init__(self, host, port=5140, *, ack=True, key_file=None, key=0, datagram_bytes=1400, window=WINDOW,
                 window_bytes=4 << 20, linger=0.001, on_refused=None, close_timeout=30.0):
        if not 256 <= datagram_bytes <= DATAGRAM_MAX or not 1 <= window <= WINDOW or window_bytes < 65536:
            raise ValueError("datagram_bytes: 256 to 65507; window: 1 to 1024; window_bytes: at least 65536")
        if key and not key_file:
            raise ValueError("key: of which key_file?")
        self.ack, self.linger, self.on_refused, self.close_timeout = ack, linger, on_refused, close_timeout
        self.window, self.window_bytes, self.datagram_bytes = window, window_bytes, datagram_bytes
        self.key_number, self.key = load_key(key_file, key) if key_file else (0, None)
        self.producer = secrets.randbelow(2**64 - 1) + 1
        self.pid, self.blocked = os.getpid(), False
        self.slots = {}  # sequence -> Slot: what is not settled, in order
        self.queue = collections.deque()  # sequences that have not left
        self.next, self.held_bytes, self.queued_bytes = 1, 0, 0
        self.linger_due = self.repeat_due = NEVER
        self.rto, self.numbers = Rto(), Counts()
        self.rack = Rack(self.rto)
        self.datagram, self.silent_since = 0, 0.0  # number of the last; when something left or was settled last
        self.payload_max = datagram_bytes
        self.socket = connect(host, port)
        self.look_at_path()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.flush(self.close_timeout)
        finally:
            self.close()
        if kind is None and self.numbers.refused:
            by = {reason_name(i): n for i, n in self.numbers.refused_by.items()}
            raise Refused(f"{self.numbers.refused} events: {by}")

    # the API

    def send(self, event, timeout=None):
        """event: bytes or text with one JSON object, or what json.dumps makes one of. timeout: seconds to wait while
        the window is full; None: for ever."""
        self.check_process()
        if not isinstance(event, (bytes, bytearray)):
            event = (event if isinstance(event, str) else json.dumps(event, separators=(",", ":"))).encode()
        if not event:
            raise ValueError("an event has at least one byte")
        if len(event) > self.event_max():
            self.look_at_path()
            if len(event) > self.event_max():
                raise TooBig(f"{len(event)} bytes; {self.event_max()} fit into one datagram")
        now = time.monotonic()
        end = NEVER if timeout is None else now + timeout
        while not self.has_room(len(event)):
            self.work(now, True)
            if self.has_room(len(event)):
                break
            if now >= end:
                raise Unacknowledged(f"the window is full: {len(self.slots)} events")
            now = self.wait(now, end)
        self.slots[self.next] = Slot(bytes(event))
        self.queue.append(self.next)
        self.next += 1
        self.held_bytes += len(event)
        self.queued_bytes += SIZE.size + len(event)
        self.numbers.accepted += 1
        if self.linger_due == NEVER:
            self.linger_due = now + self.linger
        if self.queue_full() or now >= self.next_work():
            self.work(now, False)

    def poll(self, timeout=0.0):
        """Reads answers, sends what is due. Waits until an answer came; timeout None: for ever."""
        self.check_process()
        now = time.monotonic()
        end = NEVER if timeout is None else now + timeout
        while not self.work(now, False) and now < end:
            now = self.wait(now, end)

    def flush(self, timeout=None):
        """Sends at once what lingers and waits until every event is settled."""
        self.check_process()
        now = time.monotonic()
        end = NEVER if timeout is None else now + timeout
        while True:
            self.work(now, True)
            if not self.slots:
                return
            if now >= end:
                raise Unacknowledged(f"{len(self.slots)} events")
            now = self.wait(now, end)

    def close(self):
        """Does not wait: flush first. Returns how many events were outstanding."""
        self.socket.close()
        return len(self.slots)

    def counts(self):
        self.numbers.outstanding = len(self.slots)
        self.numbers.rtt, self.numbers.rto = self.rto.srtt, self.rto.timeout()
        return self.numbers

    def fileno(self):
        """For an event loop: when it is readable, or wait_seconds() has passed, poll(0)."""
        return self.socket.fileno()

    def wait_seconds(self):
        """None: nothing is due."""
        due = self.next_work()
        if self.blocked:
            return 0.001
        return None if due == NEVER else max(0.0, due - time.monotonic())

    # inside

    def check_process(self):
        if self.pid != os.getpid():
            raise Forked("a client after fork()")

    def overhead(self):
        return HEAD.size + (MAC_BYTES if self.key else 0)

    def event_max(self):
        return min(self.payload_max - self.overhead() - SIZE.size, EVENT_MAX)

    def look_at_path(self, failed_bytes=0):
        least = HEAD.size + SIZE.size + MAC_BYTES + 1
        if LINUX:
            level, _, name, headers = MTU[self.socket.family]
            try:
                self.payload_max = self.socket.getsockopt(level, name) - headers
            except OSError:
                pass
        self.payload_max = min(max(self.payload_max, least), DATAGRAM_MAX)
        self.datagram_bytes = min(self.datagram_bytes, self.payload_max)
        if failed_bytes and self.datagram_bytes >= failed_bytes:  # the system does not know the path either
            self.datagram_bytes = max(failed_bytes // 2, least)

    def has_room(self, size):
        """The window reaches from the lowest event that is not settled on."""
        base = next(iter(self.slots), self.next)
        return self.next - base < self.window and self.held_bytes + size <= self.window_bytes

    def queue_full(self):
        return self.queued_bytes >= self.datagram_bytes - self.overhead()

    def next_work(self):
        return NEVER if self.blocked else min(self.linger_due, self.repeat_due)

    def wait(self, now, end):
        """Until the socket has something, work is due or the time is over; returns the time then."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN | (select.POLLOUT if self.blocked else 0))
        until = min(self.next_work(), end)
        poll.poll(None if until == NEVER else max(0.0, until - now) * 1000 + 0.01)
        return time.monotonic()

    def work(self, now, everything):
        answers = self.receive(now)
        self.blocked = False  # until it is tried again: what was to be sent may have been acknowledged
        self.send_due(now)
        self.send_queued(now, everything)
        return answers

    def pack(self, first, sequences):
        """The datagram of as many of the consecutive sequences as fit, or of one; and their number."""
        room, parts = self.datagram_bytes - self.overhead(), []
        for sequence in sequences:
            event = self.slots[sequence].event
            room -= SIZE.size + len(event)
            if room < 0 and parts:
                break
            parts.append(SIZE.pack(len(event)) + event)
        flags = (WANTS_ACK if self.ack else 0) | (HAS_MAC if self.key else 0)
        head = HEAD.pack(MAGIC, VERSION, DATA, flags, self.key_number, self.producer, first, len(parts), 1)
        data = head + b"".join(parts)
        return data + self.mac(data), len(parts)

    def mac(self, data):
        return hashlib.blake2b(data, digest_size=MAC_BYTES, key=self.key).digest() if self.key else b""

    def put(self, data):
        """0 or the errno. An error may be that of an earlier datagram, told now (ICMP): so once more."""
        for attempt in (0, 1):
            try:
                self.socket.send(data)
                self.numbers.datagrams += 1
                self.blocked = False
                return 0
            except OSError as e:
                if e.errno != errno.ECONNREFUSED or attempt:
                    self.blocked = e.errno in (errno.EAGAIN, errno.EWOULDBLOCK)
                    return e.errno
                self.numbers.unreachable += 1
        return 0

    def mark_sent(self, sequences, again, left, now):
        """One datagram. again: it was the events' turn to be repeated. left: the system took it."""
        self.datagram += 1
        for sequence in sequences:
            slot = self.slots[sequence]
            if again and slot.sends:
                slot.again = True
                self.rack.mark_repeated(sequence)
            if left:
                self.numbers.sent += slot.sends == 0
                self.numbers.repeated += slot.sends > 0
                slot.sends += 1
            slot.tries += 1
            slot.sent_at, slot.datagram = now, self.datagram
        self.silent_since = now
        self.repeat_due = min(self.repeat_due, now + self.rto.wait())

    def leave_queue(self, count):
        left = [self.queue.popleft() for _ in range(count)]
        self.queued_bytes -= sum(SIZE.size + len(self.slots[s].event) for s in left)
        return left

    def settle(self, sequence):
        slot = self.slots.pop(sequence)
        self.held_bytes -= len(slot.event)
        return slot

    def refuse(self, sequence, reason):
        slot = self.settle(sequence)
        self.numbers.refused += 1
        self.numbers.refused_by[reason] += 1
        if self.on_refused:
            self.on_refused(sequence, reason, slot.event)

    def queued_failed(self, count, size, error, now):
        """What is first in the queue could not be sent. False: it stays there."""
        if self.blocked or error in (errno.ENOBUFS, errno.ENOMEM):
            self.linger_due = now + (0 if self.blocked else SHORTAGE)
            return False
        self.numbers.send_errors += 1
        self.numbers.last_error = error
        if error == errno.EMSGSIZE:
            self.look_at_path(size)
            if count > 1:
                return True  # packed anew
        if self.ack:  # as if lost on the way
            self.mark_sent(self.leave_queue(count), False, False, now)
            return True
        if error == errno.EMSGSIZE:
            self.refuse(self.leave_queue(1)[0], 0)
            return True
        self.linger_due = now + RETRY
        return False

    def send_queued(self, now, everything):
        while self.queue:
            if not everything and now < self.linger_due and not self.queue_full():
                return
            data, count = self.pack(self.queue[0], self.queue)
            error = self.put(data)
            if error:
                if not self.queued_failed(count, len(data), error, now):
                    return
                continue
            left = self.leave_queue(count)
            if self.ack:
                self.mark_sent(left, False, True, now)
                continue
            self.numbers.sent += count
            for sequence in left:
                self.settle(sequence)
        self.linger_due = NEVER

    def send_run(self, run, now):
        """Sends consecutive events again, as many as fit; returns how many it dealt with, 0: not now."""
        while True:
            data, count = self.pack(run[0], run)
            error = self.put(data)
            if error and (self.blocked or error in (errno.ENOBUFS, errno.ENOMEM)):
                return 0
            if error:
                self.numbers.send_errors += 1
                self.numbers.last_error = error
            if error == errno.EMSGSIZE:
                self.look_at_path(len(data))
                if count > 1:
                    continue
            self.mark_sent(run[:count], True, not error, now)
            return count

    def find_lost(self, now):
        """(sequence, tries) of the events that are lost, and the next time that one will be."""
        lost, due, wait = [], NEVER, self.rack.wait()
        for sequence, slot in self.slots.items():
            if slot.datagram >= self.rack.answered or not slot.datagram:
                if slot.tries < 2:
                    break  # and so are all above it
            elif slot.sent_at + wait > now:
                due = min(due, slot.sent_at + wait)
            else:
                lost.append((sequence, slot.tries))
        return lost, due

    def send_lost(self, lost, now):
        """False: the system does not take it now."""
        for run in runs_of(lost, next(iter(self.slots)), self.rack.credit):
            while run := run[:self.rack.credit]:
                count = self.send_run(run, now)
                if not count:
                    return False
                self.rack.spent(count)
                run = run[count:]
        return True

    def send_probe(self, before, seldom, now):
        """Sends a datagram that begins with what left first, or, with seldom, with what was tried most seldom, and has
        nothing that left after datagram `before`, unless there is nothing else: then the same goes twice, and an answer
        more tells nothing."""
        first_queued = self.queue[0] if self.queue else self.next

        def key(sequence):
            slot = self.slots[sequence]
            return slot.datagram > before, slot.tries if seldom else 0, slot.datagram

        first = min((s for s in self.slots if s < first_queued), key=key)
        twice = self.slots[first].datagram > before
        run = []
        for sequence in itertools.count(first):
            slot = self.slots.get(sequence)
            if slot is None or sequence >= first_queued or (slot.datagram > before and not twice):
                break
            run.append(sequence)
        count = self.send_run(run, now)
        if twice:
            self.rack.repeated_twice(run[:count])
        return count > 0

    def send_probes(self, now):
        """Nothing is answered: what left first goes again, since nothing else is lost as likely, and an answer to it
        tells about all others. One datagram, and two from the second time on, since the wait for the next is long (RFC
        9002, 6.2.4): what left first may be of a partition that does not answer, so the other one has what was tried
        most seldom. False: the system does not take it now."""
        before = self.datagram
        if not self.send_probe(before, False, now):
            return False
        if self.rto.timeouts:
            self.rack.credit = 0  # begins slowly when answers come again
            self.send_probe(before, True, now)
        self.rto.timed_out()
        return True

    def send_due(self, now):
        if now < self.repeat_due:
            return
        if len(self.slots) == len(self.queue):
            self.repeat_due = NEVER
            return
        lost, due = self.find_lost(now)
        taken = self.send_lost(lost, now)
        if taken and now >= self.silent_since + self.rto.wait():
            taken = self.send_probes(now)
        silence = self.silent_since + self.rto.wait() if taken else now + (0 if self.blocked else SHORTAGE)
        self.repeat_due = min(due, silence)

    # answers

    def receive(self, now):
        taken = 0
        for _ in range(256):  # a flood of answers does not keep events from being sent
            try:
                taken += self.take(self.socket.recv(65536), now)
            except BlockingIOError:
                break
            except OSError:  # an ICMP error: the peer may come back
                self.numbers.unreachable += 1
        return taken

    def take(self, data, now):
        """One datagram from the peer; whether it is an answer of ours."""
        kind = data[5] if self.ack and len(data) >= 16 and data[:4] == MAGIC else 0
        answer = read_ack(data) if kind == ACK else read_reject(data) if kind == REJECT else None
        if answer is None:
            self.numbers.ignored_malformed += 1
            return False
        if answer[0] != self.producer:
            self.numbers.ignored_producer += 1
            return False
        if kind == REJECT:
            self.numbers.rejects, self.numbers.reject_reason = self.numbers.rejects + 1, answer[1]  # not signed: a hint
            return False
        signed = bool(data[6] & HAS_MAC)
        if signed != bool(self.key) or data[7] != self.key_number or (
                signed and not hmac.compare_digest(data[-MAC_BYTES:], self.mac(data[:-MAC_BYTES]))):
            self.numbers.ignored_mac += 1
            return False
        self.numbers.answers += 1
        settled = self.numbers.acked + self.numbers.refused
        try:
            self.take_ranges(answer[1], now)
            self.take_refusals(answer[2], now)
        finally:  # on_refused may raise
            settled = self.numbers.acked + self.numbers.refused - settled
            if settled:
                self.rto.answered()
                self.rack.settled(settled, WINDOW)
                self.silent_since = self.repeat_due = now  # what is lost is to be looked for
        return True

    def take_ranges(self, ranges, now):
        longest = None
        for first, bits in ranges:
            while bits:
                low = bits & -bits
                bits ^= low
                sequence = first + low.bit_length() - 1
                if not self.may_settle(sequence, now):
                    continue
                slot = self.settle(sequence)
                self.numbers.acked += 1
                if not self.learn(slot, now) and now - slot.sent_at < self.rto.least() / 2:  # beyond doubt
                    self.rack.premature(now)
                if not slot.again:  # else nobody knows which copy is answered
                    longest = max(longest or 0.0, now - slot.sent_at)
        if longest is not None:
            self.rto.measured(longest, now)

    def take_refusals(self, refusals, now):
        for sequence, reason in refusals:
            if self.may_settle(sequence, now):
                self.learn(self.slots[sequence], now)
                self.refuse(sequence, reason)

    def learn(self, slot, now):
        """Its datagram was answered. False: not the latest repeat was, so that this says nothing of other datagrams."""
        if slot.again and now - slot.sent_at < self.rto.least():
            return False
        self.rack.answered = max(self.rack.answered, slot.datagram)
        if slot.again:
            self.rack.needed(now)
        return True

    def may_settle(self, sequence, now):
        slot = self.slots.get(sequence)
        if slot is not None and slot.sends:
            return True
        if slot is not None or sequence >= self.next:
            self.numbers.never_sent += 1
            return False
        self.numbers.settled_again += 1
        self.rack.settled_again(sequence, next(iter(self.slots), self.next), now)
        return False


def read_ack(data):
    """(producer, ranges, refusals), or None: not an ACK by the protocol. The MAC is not checked here."""
    if not ACK_HEAD.size <= len(data) <= ACK_MAX:
        return None
    _, version, _, flags, key, producer, ranges, refusals, reserved = ACK_HEAD.unpack_from(data)
    middle = ACK_HEAD.size + RANGE.size * ranges
    end = middle + REFUSAL.size * refusals
    signed = bool(flags & HAS_MAC)
    if version != VERSION or flags & ~HAS_MAC or reserved or signed != bool(key):
        return None
    if len(data) != end + MAC_BYTES * signed:
        return None
    ranges, refusals = list(RANGE.iter_unpack(data[ACK_HEAD.size:middle])), list(REFUSAL.iter_unpack(data[middle:end]))
    if not all(1 <= x[0] <= SEQUENCE_MAX for x in ranges + refusals) or not all(reason for _, reason in refusals):
        return None
    return producer, ranges, refusals


def read_reject(data):
    """(producer, reason), or None."""
    if len(data) != REJECTION.size:
        return None
    _, _, _, reserved, producer, reason, more = REJECTION.unpack(data)
    return None if reserved or any(more) else (producer, reason)
