"""What the comparison of sequences has for input: events of sluice-gen, and among them payments of customers who do
what the rules look for, or almost; out of order, some twice. As a capture file for sluiced and as lines for Flink."""
import bisect
import json
import struct
import subprocess
import uuid

from cep_rules import FIELDS

START_MS, EVENT_SECONDS = 1792000000000, 400
LETTERS = "aaaabbbbcccnndxxzm"  # statuses of payments, as often as they come
PLAYS = ["abc", "axbxc", "aabbcc", "anc", "axnc", "abnc", "abdc", "aaac", "aaaac", "abb", "aaaa", "aab", "az", "zz",
         "zb", "abbbbc", "ab", "amc", "am", "bca", "aabab", "aanbb", "adc", "axdc"]
TOGETHER = 0.12  # share of events that come in the same millisecond as the one before


def background(rig, events, disorder_ms):
    """Lines of sluice-gen with the times when they arrive."""
    rate = max(100, events // EVENT_SECONDS)
    args = {"file": "-", "count": events, "seed": rig.seed, "start-ts": START_MS, "ts-rate": rate, "users": 20000,
            "mix": "page_view=4,click=2,conversion=1,transaction=3", "disorder-ms": disorder_ms, "dup-permille": 20}
    out = subprocess.run([rig.program("gen"), *[w for k, v in args.items() for w in ("--" + k, str(v))]], check=True,
                         stdout=subprocess.PIPE, timeout=1800).stdout
    for i, line in enumerate(out.splitlines()):
        yield START_MS + i * 1000 // rate, line


def payment(rng, user, ip, ts, letter):
    event = {"event_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)), "type": "transaction", "user_id": user,
             "ts": ts, "amount": rng.randrange(1, 200), "merchant": f"m{rng.randrange(2)}", "country": "DE", "ip": ip,
             "status": letter}
    return json.dumps(event, separators=(",", ":")).encode()


def customers(rng, events, disorder_ms, late_ms):
    """Arrival and line of each payment. A customer plays some scenes, one after the other, mixed with noise."""
    made, number, people = 0, 0, max(10, events // 120)
    while made < events:
        user, ip = f"c{rng.randrange(people)}", f"203.0.{rng.randrange(max(1, people // 512))}.{rng.randrange(128)}"
        ts = START_MS + rng.randrange(EVENT_SECONDS * 1000)
        number += 1
        letters = "".join(rng.choice(PLAYS) if rng.random() < .7 else rng.choice(LETTERS)
                          for _ in range(rng.randrange(1, 9)))
        for letter in letters:
            if rng.random() >= TOGETHER:
                ts += rng.choice((rng.randrange(1, 900), rng.randrange(1, 4000)))
            line = payment(rng, user, ip, ts, letter)
            arrival = ts + rng.randrange(disorder_ms)
            if late_ms and rng.random() < .05:
                arrival += rng.randrange(late_ms)
            yield arrival, line
            if rng.random() < .02:
                yield arrival + rng.randrange(1, 5000), line  # once more
            made += 1


def make(rig, events, disorder_ms, late_ms=0):
    """All lines in the order of their arrival: two thirds of sluice-gen, a third of customers. Behind them, some that
    close all windows: far later ones, of users of every partition."""
    lines = list(background(rig, events - events // 3, disorder_ms)) + \
        list(customers(rig.random, events // 3, disorder_ms, late_ms))
    lines.sort(key=lambda x: x[0])
    end = START_MS + (EVENT_SECONDS + 600) * 1000
    return [line for _, line in lines] + [payment(rig.random, f"end{i}", "192.0.2.1", end, "end") for i in range(200)]


class Events:
    """By id: the place in the order (time, arrival), and the status. The first of each id counts. late: ids of events
    that are no longer judged."""

    def __init__(self, lines):
        self.event, self.order, self.of_user, self.late = {}, {}, {}, set()
        for line in lines:
            e = json.loads(line)
            self.event.setdefault(e["event_id"], e)
        for place, one in enumerate(sorted(self.event, key=lambda i: self.event[i]["ts"])):
            self.order[one] = place
            self.of_user.setdefault(self.event[one].get("user_id"), []).append(one)

    def __getitem__(self, event_id):
        return self.order[event_id]

    def between(self, first, last):
        """Events of the same user between two of them."""
        mine = self.of_user[self.event[first]["user_id"]]
        at = bisect.bisect_right(mine, self.order[first], key=self.order.get)
        end = bisect.bisect_left(mine, self.order[last], key=self.order.get)
        return [i for i in mine[at:end] if i not in self.late]

    def status(self, event_id):
        return self.event[event_id].get("status")

    def write(self, path):
        """As Pick.java reads them, in the order of their arrival."""
        with open(path, "w", encoding="utf-8") as f:
            for i, e in self.event.items():
                f.write("\t".join([str(e["ts"]), i, *(str(e.get(x, "")) for x in FIELDS)]) + "\n")


def frame(payload, source):
    """Ethernet, IPv4, UDP without checksum."""
    ip = bytearray(struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0, bytes((192, 0, 2, 1)),
                               bytes((192, 0, 2, 2))))
    total = sum(struct.unpack(">10H", ip))
    total = (total & 0xffff) + (total >> 16)
    struct.pack_into(">H", ip, 10, ~(total + (total >> 16)) & 0xffff)
    return bytes.fromhex("020000000002020000000001" "0800") + ip + \
        struct.pack(">HHHH", source, 5140, 8 + len(payload), 0) + payload


def write_pcap(path, lines, bytes_max=1400):
    """As many lines a datagram as fit."""
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        payload = b""
        for line in [*lines, None]:
            if payload and (line is None or len(payload) + 1 + len(line) > bytes_max):
                data = frame(payload, 40000)
                f.write(struct.pack("<IIII", 0, 0, len(data), len(data)) + data)
                payload = b""
            if line is not None:
                payload += (b"\n" if payload else b"") + line
