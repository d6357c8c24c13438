"""Record batches (Kafka's message format 2) without a client: those in a broker's files, and one that goes into a
partition under somebody else's producer id."""
import collections
import glob
import os
import signal
import socket
import struct
import time

HEADER = struct.Struct(">ibIhiqqqhii")  # behind offset and length
TRANSACTIONAL, CONTROL = 0x10, 0x20
Batch = collections.namedtuple("Batch", "offset pid epoch control commit transactional end")


def parse(data):
    """The whole batches of a segment's bytes; `end` is where one ends."""
    at = 0
    while at + 12 + HEADER.size <= len(data):
        offset, length = struct.unpack_from(">qi", data, at)
        end = at + 12 + length
        if length <= 0 or end > len(data):
            break
        head = HEADER.unpack_from(data, at + 12)
        control = bool(head[3] & CONTROL)
        # a control record: length, attributes, two deltas, length of the key, version, type: 0 abort, 1 commit
        yield Batch(offset, head[7], head[8], control, control and data[at + 12 + HEADER.size + 8] == 1,
                    bool(head[3] & TRANSACTIONAL), end)
        at = end


def batches(folder):
    """Of a partition's folder, in order."""
    for path in sorted(glob.glob(os.path.join(folder, "*.log"))):
        with open(path, "rb") as f:
            yield from parse(f.read())


class Transactions:
    """Of a topic, as one broker's files have them: which are open, by partition and producer, and how many ended."""

    def __init__(self, rig, topic, partition="[0-9]*"):
        self.pattern = os.path.join(rig.dir, "kafka", "log1", f"{topic}-{partition}", "*.log")
        self.at, self.open, self.aborts, self.commits = collections.Counter(), set(), 0, 0

    def look(self):
        """Takes what was written since the last look."""
        for path in sorted(glob.glob(self.pattern)):
            with open(path, "rb") as f:
                f.seek(self.at[path])
                data = f.read()
            end, folder = 0, os.path.dirname(path)
            for b in parse(data):
                end = b.end
                if b.control:
                    self.open.discard((folder, b.pid))
                    self.commits += b.commit
                    self.aborts += not b.commit
                elif b.transactional:
                    self.open.add((folder, b.pid))
            self.at[path] += end
        return self


def stopped_within(child, transactions, seconds=60):
    """Stops a producer until the broker has aborted what was open. False: it stood between two transactions. It stays
    stopped."""
    child.send_signal(signal.SIGSTOP)
    before, began = transactions.look().aborts, time.monotonic()
    while True:
        transactions.look()
        waited = time.monotonic() - began
        if not transactions.open and transactions.aborts > before:
            return True
        # What was sent just before the stop may not have reached the files yet.
        if waited > (seconds if transactions.open else 2):
            return False
        time.sleep(0.2)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def varint(n):
    n, out = n << 1 ^ n >> 63, b""
    while n > 0x7F:
        out, n = out + bytes([n & 0x7F | 0x80]), n >> 7
    return out + bytes([n])


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def produce(port, topic, partition, transactional_id, pid, epoch, time_ms, value):
    """One record, the first of its epoch, by a Produce request of version 3. Returns the error code and the offset."""
    record = b"\0" + varint(0) + varint(0) + varint(-1) + varint(len(value)) + value + varint(0)
    tail = struct.pack(">hiqqqhii", TRANSACTIONAL, 0, time_ms, time_ms, pid, epoch, 0, 1) + varint(len(record)) + record
    batch = struct.pack(">ibI", -1, 2, crc32c(tail)) + tail
    batch = struct.pack(">qi", 0, len(batch)) + batch
    request = struct.pack(">hhi", 0, 3, 1) + text("raw") + text(transactional_id) + struct.pack(">hii", -1, 10000, 1)
    request += text(topic) + struct.pack(">iii", 1, partition, len(batch)) + batch
    with socket.create_connection(("127.0.0.1", port), 60) as s:
        s.sendall(struct.pack(">i", len(request)) + request)
        answer = b""
        while len(answer) < 4 or len(answer) < 4 + struct.unpack_from(">i", answer)[0]:
            more = s.recv(4096)
            if not more:
                raise RuntimeError("the broker closed the connection")
            answer += more
    return struct.unpack_from(">hq", answer, 4 + 4 + 4 + 2 + len(topic) + 4 + 4)
