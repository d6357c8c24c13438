"""Two capture files, IPv4 and IPv6, through two ports and two workers, into real Kafka (3 brokers, RF 3) and
ClickHouse.

Shown per event: what was sent = journal + named drops, and journal = Kafka = ClickHouse, by id and address, with
alerts and dead letters. The ledger's equations balance to 0. SIGTERM drains. A restart with nothing new adds
nothing."""
import subprocess
import sys

from daemon import Daemon, file_ports
from rig import Rig

EVENTS = 120000
EVERY_KIND = dict(count=EVENTS, events_per_datagram=6, dup_permille=25, bad_permille=30, fraud_permille=25,
                  noid_permille=10, escape_permille=30, utf8_permille=30, extra_permille=30, disorder_ms=3000, flows=16)
FAMILIES = {"v4": {"src": "192.0.2.1:40000", "dst": "192.0.2.2:5140"},
            "v6": {"src": "[2001:db8::1]:40000", "dst": "[2001:db8::2]:5140"}}


def add_foreign(path):
    """An ARP frame, one for a port without listener, one too short for Ethernet: dropped under their names."""
    with open(path, "rb") as f:
        data = f.read()
    first = data[40:40 + int.from_bytes(data[32:36], "little")]
    arp = bytes(12) + b"\x08\x06" + bytes(46)
    other = bytearray(first)
    udp = 14 + (20 if first[12:14] == b"\x08\x00" else 40)
    other[udp + 2:udp + 4] = (9).to_bytes(2, "big")
    other[udp + 6:udp + 8] = b"\0\0" if udp == 34 else other[udp + 6:udp + 8]
    if udp != 34:  # IPv6 must have a checksum: what one port field loses the other one gains
        delta = int.from_bytes(first[udp + 2:udp + 4], "big") - 9
        source = int.from_bytes(first[udp:udp + 2], "big") + delta
        other[udp:udp + 2] = source.to_bytes(2, "big")
    with open(path, "ab") as f:
        for frame in (arp, bytes(other), b"\x01\x02\x03"):
            f.write(data[24:32] + len(frame).to_bytes(4, "little") * 2 + frame)


def truth_counts(path):
    counts = {}
    with open(path, encoding="ascii") as f:
        for line in f:
            fate = line.split()[2].replace("refused:", "")
            counts[fate] = counts.get(fate, 0) + 1
    return counts


def check_drops(rig, daemon, want):
    """Every reason that the truth names, as often, and no other one."""
    have = daemon.drops()
    want = {k: v for k, v in want.items() if k != "accepted"}
    want.update(not_ip=2, no_listener=2, bad_l2=2)
    rig.expect(have == want, f"named drops are those of the truth file: {have}" +
               ("" if have == want else f" / {want}"))


def check_alerts(rig, text):
    rig.expect(rig.verify_count(text, "alerts") > 0 and rig.verify_count(text, "dead") > 0,
               "there were alerts and dead letters to compare")


with Rig(sys.argv[1], kafka=3, clickhouse=True) as rig:
    for name, where in FAMILIES.items():
        rig.gen_run(name, pcap=rig.path(name + ".pcap"), seed=rig.seed + len(name + where["dst"]), **where,
                    **EVERY_KIND)
        add_foreign(rig.path(name + ".pcap"))
    with open(rig.path("truth"), "wb") as out:
        subprocess.run(["cat", rig.path("v4.truth"), rig.path("v6.truth")], stdout=out, check=True)
    daemon = Daemon(rig, "pcap", file_ports(rig.path("v4.pcap"), rig.path("v6.pcap")))
    rig.expect(daemon.start(), "sluiced runs")
    rig.expect(daemon.wait_input_ended() and daemon.wait_quiet(), "both files are read to their ends")
    rig.expect(daemon.drain(), "the sinks have delivered all")
    daemon.expect_balanced("drained")
    check_drops(rig, daemon, truth_counts(rig.path("truth")))
    busy = [w.get("frames", 0) for w in daemon.ctl("stats")["workers"]]
    rig.expect(len(busy) == 2 and all(busy), f"both workers had frames: {busy}")
    daemon.stop_well("after the drain")
    check_alerts(rig, rig.verify(daemon, "truth = journal + drops, journal = Kafka = ClickHouse", truth="truth"))

    daemon.config["worker"]["count"] = 1
    daemon.config["ports"] = file_ports(rig.path("empty.pcap"))
    with open(rig.path("v4.pcap"), "rb") as f, open(rig.path("empty.pcap"), "wb") as out:
        out.write(f.read(24))
    rig.expect(daemon.start(), "sluiced runs again, with an empty file")
    rig.expect(daemon.drain(), "nothing is left to deliver")
    daemon.expect_balanced("after the restart")
    daemon.stop_well("second stop")
    rig.verify(daemon, "still exactly once after a restart with nothing new", truth="truth")

    # SIGTERM while the files are being read: what was taken is delivered, and the next run brings the rest.
    early = Daemon(rig, "early", file_ports(rig.path("v4.pcap"), rig.path("v6.pcap")))
    rig.expect(early.start(), "a second journal, stopped in the middle")
    early.stop_well("in the middle")
    rig.verify(early, "what was journaled before SIGTERM is everywhere, without another run")
rig.done()
