"""Captures with payloads of our own, over IPv4 and UDP without checksum."""
import struct


def frame(payload, port, source=0x0A000001):
    udp = struct.pack(">HHHH", 40000, port, 8 + len(payload), 0) + payload
    head = struct.pack(">BBHHHBBHII", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, source, 0x0A000002)
    total = sum(struct.unpack(">10H", head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack(">H", total ^ 0xFFFF) + head[12:]
    return bytes.fromhex("020000000002020000000001") + b"\x08\x00" + head + udp


def pcap_write(path, datagrams):
    """datagrams: pairs of payload and UDP port."""
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for payload, port in datagrams:
            fr = frame(payload, port)
            f.write(struct.pack("<IIII", 0, 0, len(fr), len(fr)) + fr)
