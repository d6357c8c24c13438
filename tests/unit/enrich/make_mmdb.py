"""Writes small MaxMind DB files (MaxMind DB File Format Specification 2.0) for tests and benchmarks.

  make_mmdb.py OUT city|asn [--ip 4|6] [--bits 24|28|32] [--random COUNT] [--evil]

Without --random: the networks that the unit tests know. With it: COUNT random IPv4 networks of /12 to /26, from a fixed
seed. --evil: records that do not fit their fields, or are of the wrong type.
"""
import argparse
import ipaddress
import random
import struct

KNOWN = {
    "city": [("192.0.2.0/24", "DE", "Berlin"), ("198.51.100.0/25", "US", "New York"), ("198.51.100.128/25", "US", ""),
             ("203.0.113.7/32", "FR", "Saint-Étienne"), ("10.0.0.0/8", "ZZ", "Testville"),
             ("127.0.0.0/8", "ZZ", "Home"),
             ("2001:db8::/32", "JP", "Tōkyō"), ("2001:db8:ff::/48", "BR", "São Paulo"), ("2001:db8::7/128", "IN", "")],
    "asn": [("192.0.2.0/24", 64496), ("198.51.100.0/24", 64500), ("203.0.113.0/24", 4200000000), ("10.0.0.0/8", 64511),
            ("127.0.0.0/8", 64512), ("2001:db8::/32", 65551)],
}
EVIL = {
    "city": [("192.0.2.0/24", "DE", "x" * 129), ("198.51.100.0/24", "TOO-LONG-CODE", "Fits"),
             ("203.0.113.0/24", 7, [1])],
    "asn": [("192.0.2.0/24", "64496"), ("198.51.100.0/24", [64500])],
}


def control(kind, size):
    """Type and size as the format's control bytes."""
    first, extra = (kind << 5, b"") if kind < 8 else (0, bytes([kind - 7]))
    if size < 29:
        return bytes([first | size]) + extra
    if size < 285:
        return bytes([first | 29]) + extra + bytes([size - 29])
    return bytes([first | 30]) + extra + struct.pack(">H", size - 285)


def encode(value, kind=None):
    if isinstance(value, str):
        raw = value.encode()
        return control(2, len(raw)) + raw
    if isinstance(value, dict):
        return control(7, len(value)) + b"".join(encode(k) + encode(v, k) for k, v in value.items())
    if isinstance(value, list):
        return control(11, len(value)) + b"".join(encode(v) for v in value)
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    kinds = {"record_size": 5, "ip_version": 5, "binary_format_major_version": 5, "binary_format_minor_version": 5,
             "build_epoch": 9}
    return control(kinds.get(kind, 6), len(raw)) + raw


def record(kind, row):
    if kind == "asn":
        return {"autonomous_system_number": row[0], "autonomous_system_organization": "Example"}
    country, city = row
    out = {"continent": {"code": "EU"}, "country": {"geoname_id": 1, "iso_code": country},
           "location": {"time_zone": "Etc/UTC"}}
    if city:
        out["city"] = {"names": {"de": "anders", "en": city}}
    return out


def networks(args):
    if not args.random:
        for row in (EVIL if args.evil else KNOWN)[args.kind]:
            yield ipaddress.ip_network(row[0]), record(args.kind, row[1:])
        return
    rnd = random.Random(7)
    for i in range(args.random):
        prefix = rnd.choice((12, 16, 18, 20, 21, 22, 23, 24, 24, 24, 26))
        net = ipaddress.ip_network((rnd.getrandbits(32) >> (32 - prefix) << (32 - prefix), prefix))
        row = (rnd.randrange(1, 400000),) if args.kind == "asn" else \
            (rnd.choice("US DE FR GB IN BR JP CN CA ES".split()), f"City {rnd.randrange(40000)}")
        yield net, record(args.kind, row)


def insert(root, bits, depth, leaf):
    """The most specific network wins, whatever the order: a leaf on the way down is pushed below."""
    node = root
    for i in range(depth - 1):
        bit = bits >> (depth - 1 - i) & 1
        if not isinstance(node[bit], list):
            node[bit] = [node[bit], node[bit]]
        node = node[bit]
    node[bits & 1] = leaf


def tree(args):
    """Nested pairs, leaves are offsets in the data section."""
    root, data, place = [None, None], bytearray(), {}
    nets = sorted(networks(args), key=lambda n: n[0].prefixlen + (96 if n[0].version == 4 else 0))
    for net, value in nets:
        depth, bits = net.prefixlen, int(net.network_address) >> (net.max_prefixlen - net.prefixlen)
        if net.version == 6 and args.ip == 4:
            continue
        if net.version == 4 and args.ip == 6:
            depth += 96
        raw = encode(value)
        if raw not in place:
            place[raw] = len(data)
            data += raw
        insert(root, bits, depth, place[raw])
    return root, bytes(data)


def pack(bits, left, right):
    if bits == 24:
        return struct.pack(">I", left)[1:] + struct.pack(">I", right)[1:]
    if bits == 32:
        return struct.pack(">II", left, right)
    middle = (left >> 24 & 15) << 4 | (right >> 24 & 15)
    return struct.pack(">I", left)[1:] + bytes([middle]) + struct.pack(">I", right)[1:]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("kind", choices=("city", "asn"))
    parser.add_argument("--ip", type=int, choices=(4, 6), default=6)
    parser.add_argument("--bits", type=int, choices=(24, 28, 32), default=28)
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--evil", action="store_true")
    args = parser.parse_args()
    root, data = tree(args)
    nodes, number = [root], {id(root): 0}
    for node in nodes:  # grows while it is walked: breadth first
        for child in node:
            if isinstance(child, list):
                number[id(child)] = len(nodes)
                nodes.append(child)
    count = len(nodes)

    def link(child):
        if child is None:
            return count
        return number[id(child)] if isinstance(child, list) else count + 16 + child

    meta = {"binary_format_major_version": 2, "binary_format_minor_version": 0, "build_epoch": 1700000000,
            "database_type": "Test-" + args.kind, "description": {"en": "made for a test"}, "ip_version": args.ip,
            "languages": ["en"], "node_count": count, "record_size": args.bits}
    with open(args.out, "wb") as f:
        f.write(b"".join(pack(args.bits, link(left), link(right)) for left, right in nodes))
        f.write(b"\0" * 16 + data + b"\xab\xcd\xefMaxMind.com" + encode(meta))


if __name__ == "__main__":
    main()
