"""Sends StatsD counters in datagrams of a wanted size, from within a namespace: by ordinary UDP sockets, or as frames
and IP packets made here, where the kernel has no device that makes them. One JSON argument: a list of
  {how: udp, to, port, names}                   a datagram, which the kernel cuts as it must
  {how: frame, iface, mac, tags, names, ...}    an Ethernet frame with tags [[ethertype, id], ...]
  {how: gre, to, kind, names, ...}              GRE by a raw socket, which the kernel puts into IP
with what is within as {src, dst, port} and, of one lone fragment, {part}."""
import ipaddress
import json
import socket
import struct
import sys

from inet_checksum import checksum

MAC = b"\x02\0\0\0\0\x09"


def payload(names, first=0):
    return "\n".join(f"{names['prefix']}.{i:05d}:1|c" for i in range(first, names["count"])).encode()


def ip_packet(job):
    """An IP packet with a UDP datagram; with part: the first fragment alone."""
    src, dst = ipaddress.ip_address(job["src"]), ipaddress.ip_address(job["dst"])
    data = payload(job["names"])
    udp = struct.pack("!HHHH", 40000, job["port"], 8 + len(data), 0) + data
    both = src.packed + dst.packed
    pseudo = both + (struct.pack("!HH", 17, len(udp)) if src.version == 4 else struct.pack("!II", len(udp), 17))
    udp = udp[:6] + struct.pack("!H", checksum(pseudo + udp) or 0xffff) + udp[8:]
    more = 0
    if job.get("part"):
        udp, more = udp[:job["part"]], 1
    if src.version == 4:
        head = struct.pack("!BBHHHBBH", 0x46, 0, 24 + len(udp), 77, more << 13, 64, 17, 0) + both + b"\x94\x04\0\0"
        return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + udp
    options = b"\x11\0\x05\x02\0\0\x01\0"  # hop by hop: a router alert
    return struct.pack("!IHBB", 6 << 28, 8 + len(udp), 0, 64) + both + options + udp


def frame(job, mac=MAC):
    packet = ip_packet(job)
    ethertype = 0x0800 if packet[0] >> 4 == 4 else 0x86dd
    tags = b"".join(struct.pack("!HH", *tag) for tag in job.get("tags", []))
    return mac + MAC + tags + struct.pack("!H", ethertype) + packet


def gre(job):
    kind = job["kind"]
    if kind == "ip":
        packet = ip_packet(job)
        return struct.pack("!HH", 0, 0x0800 if packet[0] >> 4 == 4 else 0x86dd) + packet
    if kind == "ethernet":
        return struct.pack("!HHI", 0x2000, 0x6558, 5) + frame(job)
    if kind == "erspan1":
        return struct.pack("!HH", 0, 0x88be) + frame(job)
    if kind == "erspan2":
        return struct.pack("!HHIII", 0x1000, 0x88be, 1, 1 << 28 | 9, 3) + frame(job)
    return struct.pack("!HHIIII", 0x1000, 0x22eb, 1, 2 << 28 | 9, 12345, 0) + frame(job)


for task in json.loads(sys.argv[1]):
    version = ipaddress.ip_address(task["to"]).version if "to" in task else 0
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    if task["how"] == "udp":
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            s.sendto(payload(task["names"]), (task["to"], task["port"]))
    elif task["how"] == "frame":
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
            s.bind((task["iface"], 0))
            s.send(frame(task, bytes.fromhex(task["mac"].replace(":", ""))))
    else:
        with socket.socket(family, socket.SOCK_RAW, 47) as s:
            s.sendto(gre(task), (task["to"], 0))
