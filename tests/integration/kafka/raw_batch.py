"""Record batches (Kafka's message format 2) without a client: those in a broker's files, and one that goes into a
partition under somebody else's producer id."""
import collections
import glob
import os
import socket
import struct

HEADER = struct.Struct(">ibIhiqqqhii")  # behind offset and length
TRANSACTIONAL, CONTROL = 0x10, 0x20
Batch = collections.namedtuple("Batch", "offset pid epoch control commit")


def batches(folder):
    """Of a partition's folder, in order."""
    for path in sorted(glob.glob(os.path.join(folder, "*.log"))):
        with open(path, "rb") as f:
            data = f.read()
        at = 0
        while at + 12 + HEADER.size <= len(data):
            offset, length = struct.unpack_from(">qi", data, at)
            if length <= 0:
                break
            attributes, pid, epoch = (HEADER.unpack_from(data, at + 12)[i] for i in (3, 7, 8))
            control = bool(attributes & CONTROL)
            # a control record: length, attributes, two deltas, length of the key, version, type: 0 abort, 1 commit
            yield Batch(offset, pid, epoch, control, control and data[at + 12 + HEADER.size + 8] == 1)
            at += 12 + length


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
    with socket.create_connection(("127.0.0.1", port), 20) as s:
        s.sendall(struct.pack(">i", len(request)) + request)
        answer = b""
        while len(answer) < 4 or len(answer) < 4 + struct.unpack_from(">i", answer)[0]:
            more = s.recv(4096)
            if not more:
                raise RuntimeError("the broker closed the connection")
            answer += more
    return struct.unpack_from(">hq", answer, 4 + 4 + 4 + 2 + len(topic) + 4 + 4)
