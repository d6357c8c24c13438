"""Garbage at full speed: a capture file that is played again and again (net_pcap, infinite_rx), frames mutated in every
layer; `./run test` does it with the build with ASan and UBSan, too. The only sink's server does not exist: so the
daemon waits in its drain, with the workers stopped, and the ledger can be read when it must balance exactly.

Shown: no crash, no sanitizer report, no leak, memory stays bounded, and every frame and event is counted: the ledger
balances. SLUICE_GARBAGE_SECONDS: how long (20)."""
import os
import signal
import sys
import time

from daemon import Daemon, file_ports
from rig import Rig, say

FRAMES = 3500  # net_pcap keeps them all in mbufs
SECONDS = float(os.environ.get("SLUICE_GARBAGE_SECONDS", "20"))
RSS_GROWTH_MAX = 192 << 20  # ASan keeps freed memory back; without it far less
FAMILIES = {"v4": {"src": "192.0.2.1:40000", "dst": "192.0.2.2:5140"},
            "v6": {"src": "[2001:db8::1]:40000", "dst": "[2001:db8::2]:5140"}}
REPORTS = ("AddressSanitizer", "LeakSanitizer", "runtime error:", "SUMMARY:")


def frames_of(path):
    with open(path, "rb") as f:
        data = f.read()
    at, frames = 24, []
    while at + 16 <= len(data):
        size = int.from_bytes(data[at + 8:at + 12], "little")
        frames.append(data[at + 16:at + 16 + size])
        at += 16 + size
    return data[:24], frames


def udp_at(frame):
    return 34 if frame[12:14] == b"\x08\x00" else 54


def no_checksum(frame):
    """IPv4 may go without UDP checksum, so that a changed payload gets to the parser."""
    at = udp_at(frame)
    if at == 34 and len(frame) >= 42:
        frame[40:42] = b"\0\0"


def flip_header(rng, frame):
    at = rng.randrange(min(len(frame), udp_at(frame) + 8))
    frame[at] ^= 1 << rng.randrange(8)


def flip_payload(rng, frame):
    no_checksum(frame)
    for _ in range(rng.choice((1, 1, 2, 8))):
        byte = rng.choice(b'"{}[]:,\\\0\n\xff\x80 0-eE.ut') if rng.random() < .7 else rng.randrange(256)
        frame[rng.randrange(udp_at(frame) + 8, len(frame))] = byte


def cut(rng, frame):
    """The frame ends early; the lengths in it say otherwise."""
    del frame[rng.randrange(1, len(frame)):]


def cut_event(rng, frame):
    """UDP length smaller than the payload: the datagram ends within an event."""
    no_checksum(frame)
    at = udp_at(frame)
    frame[at + 4:at + 6] = rng.randrange(0, len(frame) - at + 20).to_bytes(2, "big")


def swap_payload(rng, frame):
    """Bytes of another place of the same frame."""
    no_checksum(frame)
    at = udp_at(frame) + 8
    a, b = (rng.randrange(at, len(frame)) for _ in range(2))
    size = rng.randrange(1, 200)
    piece = frame[a:min(a + size, len(frame))]
    frame[b:b + len(piece)] = piece[:len(frame) - b]


def vlan(rng, frame):
    frame[12:12] = b"\x81\x00" + rng.randbytes(2)


def jumbo(rng, frame):
    """Longer than an mbuf: comes in a chain of them, which net_pcap does not do when it plays again and again."""
    frame += rng.randbytes(rng.randrange(2000, 6000))


def random_bytes(rng, frame):
    keep = rng.choice((0, 14, 34, 42))
    frame[keep:] = rng.randbytes(rng.randrange(0, 1500))


def deep(rng, frame):
    no_checksum(frame)
    at = udp_at(frame) + 8
    room = len(frame) - at
    what = rng.choice((b"[", b'{"a":', b'{"attributes":{"a":', b'"\\u12', b"\\", b"1e9", b"\xed\xa0\x80"))
    frame[at:] = (what * room)[:room]


def untouched(_rng, _frame):
    pass


MUTATIONS = (flip_header, flip_payload, flip_payload, flip_payload, cut, cut_event, swap_payload, vlan, random_bytes,
             deep, untouched)


def garbage(rig, name, seed, mutations=MUTATIONS):
    rig.gen_run(name, pcap=rig.path(name + ".good.pcap"), count=FRAMES, events_per_datagram=1, seed=seed,
                bad_permille=300, escape_permille=300, utf8_permille=300, extra_permille=300, noid_permille=100,
                fraud_permille=100, **FAMILIES[name])
    head, frames = frames_of(rig.path(name + ".good.pcap"))
    path = rig.path(f"{name}{seed}.pcap")
    with open(path, "wb") as out:
        out.write(head)
        for frame in frames[:FRAMES]:
            frame = bytearray(frame)
            for _ in range(rig.random.choice((1, 1, 1, 2, 3))):
                if len(frame) > udp_at(frame) + 9:
                    rig.random.choice(mutations)(rig.random, frame)
            size = len(frame).to_bytes(4, "little")
            out.write(bytes(8) + size + size + frame)
    return path


with Rig(sys.argv[1]) as rig:
    say(f"{SECONDS:.0f} s against {rig.program('sluiced')}")
    ports = file_ports(*(garbage(rig, name, rig.seed + i) for i, name in enumerate(FAMILIES)), more=",infinite_rx=1")
    ports.append({"name": "long", "device": f"net_pcap9,rx_pcap={garbage(rig, 'v4', rig.seed + 9, (jumbo,))}"})
    daemon = Daemon(rig, "garbage", ports, sinks=False,
                    clickhouse={"enabled": True, "url": "http://127.0.0.1:1"},
                    journal={"segments_max": 16, "dead_letter_rate": "1MiB"}, eal={"memory": "512MiB", "mbufs": 32767})
    env = {"ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=16:detect_odr_violation=0", "UBSAN_OPTIONS":
           "print_stacktrace=1:halt_on_error=1"}
    if not rig.expect(daemon.start(env=env, wait=120), "sluiced runs"):
        print(daemon.log_tail())
    else:
        time.sleep(3)
        rss = daemon.rss_bytes()
        time.sleep(SECONDS)
        alive = daemon.alive()
        rig.expect(alive, "sluiced is alive after the garbage")
        if alive:
            grown = daemon.rss_bytes() - rss
            rig.expect(grown < RSS_GROWTH_MAX, f"memory: {rss >> 20} MiB after 3 s, {grown >> 10} KiB more at the end")
            rig.expect(sum(x["rx_packets"] for x in daemon.ctl("ports")["ports"]) > 10 * FRAMES, "frames go on coming")
            daemon.child.send_signal(signal.SIGTERM)
            rig.expect(daemon.wait_quiet(), "the workers have stopped, all is durable or dropped")
            daemon.expect_balanced("in the drain", ("not connected yet",))
            say(f"counters: {(daemon.ctl('status') or {}).get('events')}")
            drops = daemon.drops()
            say(f"drops: {drops}")
            rig.expect(len(drops) >= 15, f"{len(drops)} different reasons occurred")
            daemon.ctl("stop", "--now")
            rig.expect(daemon.wait_dead(120) == 0, "it ends, exit code 0")
        log = rig.text(daemon.log)
        rig.expect(not any(word in log for word in REPORTS),
                   "no report of a sanitizer in its log")
        if rig.failures:
            print(log[-6000:])
        # counters of the last block of each partition: what the workers dropped is in the journal too
        out = daemon.ctl("journal", "verify", "--dir", daemon.data + "/journal")
        rig.expect(out is not None and not out.get("damaged"), "the journal is intact")
rig.done()
