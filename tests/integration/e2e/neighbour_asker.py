"""Asks for neighbours, and answers nothing, from within a namespace. One JSON argument:
  {how: ping, to, count, tries, pause, more, wait}
                                          echo requests by a raw socket; prints how many were answered
  {how: arp, iface, to, source, count, tag}
                                          ARP requests in one go, tag 0: untagged; prints how many answers came with
                                          that tag, and from which MACs
  {how: claim, iface, address, mac}       an ARP announcement of somebody else's address"""
import ipaddress
import json
import select
import socket
import struct
import sys
import time

from inet_checksum import checksum

ETH_P_ALL, SOL_PACKET, PACKET_AUXDATA, TP_STATUS_VLAN_VALID = 3, 263, 8, 16


def ping(to, count, tries=1, pause=0, more=0, wait=5):
    """One after the other, seconds between them, with payloads of different lengths, `more` bytes longer; each so many
    times, 20 ms apart, until it is answered. The kernel computes ICMPv6's checksum, and checks those of the answers."""
    six = ipaddress.ip_address(to).version == 6
    request, reply = (128, 129) if six else (8, 0)
    protocol = socket.getprotobyname("ipv6-icmp") if six else socket.IPPROTO_ICMP
    answered = 0
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, protocol) as s:
        for i in range(count):
            time.sleep(pause)
            data = struct.pack("!BBHHH", request, 0, 0, 77, i) + b"x" * (i % 2 + 40 * i + more)
            if not six:
                data = data[:2] + struct.pack("!H", checksum(data)) + data[4:]
            for left in reversed(range(tries)):
                s.sendto(data, (to, 0))
                if is_answered(s, to, reply, data, 0.02 if left else wait):
                    answered += 1
                    break
    return answered


def is_answered(s, to, reply, data, seconds):
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and select.select([s], [], [], left)[0]:
        got, whom = s.recvfrom(65536)
        if s.family == socket.AF_INET:
            got = got[(got[0] & 15) * 4:]
            if checksum(got):
                continue
        if whom[0] == to and got[0] == reply and got[1] == 0 and got[4:] == data[4:]:
            return True
    return False


def packet_socket(iface):
    """Of all kinds: the tag of a frame, which the kernel takes off, is told to such a one only."""
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    s.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    s.bind((iface, ETH_P_ALL))
    return s


def tag_of(ancillary):
    for _, _, data in ancillary:
        status, _, _, _, _, tci, _ = struct.unpack("IIIHHHH", data[:20])
        return tci if status & TP_STATUS_VLAN_VALID else 0
    return 0


def arp_frame(mac, address, target, tag=0):
    tags = struct.pack("!HH", 0x8100, tag) if tag else b""
    return b"\xff" * 6 + mac + tags + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1) + mac + \
        ipaddress.ip_address(address).packed + bytes(6) + ipaddress.ip_address(target).packed + bytes(18)


def arp(iface, to, source, count, tag):
    macs, answers = set(), 0
    with packet_socket(iface) as s:
        own = s.getsockname()[4]
        for _ in range(count):
            s.send(arp_frame(own, source, to, tag))
        # the first of them have time to come from a busy machine; behind them a second of silence is the end
        while answers < count and select.select([s], [], [], 1 if answers >= 3 else 20)[0]:
            got, ancillary, _, _ = s.recvmsg(2048, 256)
            if got[12:14] == b"\x08\x06" and got[20:22] == b"\0\2" and got[:6] == own and \
                    got[28:32] == ipaddress.ip_address(to).packed and tag_of(ancillary) == tag:
                answers += 1
                macs.add(got[22:28].hex(":"))
    return {"answers": answers, "macs": sorted(macs)}


def claim(iface, address, mac):
    with packet_socket(iface) as s:
        s.send(arp_frame(bytes.fromhex(mac.replace(":", "")), address, address))


job = json.loads(sys.argv[1])
print(json.dumps({"ping": ping, "arp": arp, "claim": claim}[job.pop("how")](**job)))
