"""Two capture files, IPv4 and IPv6, with events of every type, through two ports and two workers, into real Kafka (3
brokers, RF 3; two types with topics of their own) and ClickHouse.

Shown per event: what was sent = journal + named drops, and journal = Kafka = ClickHouse, by id and address, with
alerts and dead letters. The ledger's equations balance to 0. SIGTERM drains. A restart with nothing new adds
nothing. Workers whose files have ended rest. Per type: the journal's dump and ClickHouse's rows count what was
accepted; amounts add up exactly."""
import collections
import decimal
import json
import os
import subprocess
import sys
import time

from daemon import Daemon, file_ports
from rig import Rig

EVENTS = 120000
EVERY_KIND = dict(count=EVENTS, mix="all", late=0.01, late_by=60000, events_per_datagram=6, dup_permille=25,
                  bad_permille=30, fraud_permille=25, noid_permille=10, escape_permille=30,
                  utf8_permille=30, extra_permille=30, disorder_ms=3000, flows=16)
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


def accepted(rig, name):
    """(type, line) of each event that must be there once."""
    with open(rig.path(name + ".truth"), encoding="ascii") as truth, open(rig.path(name + ".lines"), "rb") as lines:
        for fate, line in zip(truth, lines, strict=True):
            _, kind, verdict, _ = fate.split()
            if verdict == "accepted":
                yield kind, line


def check_types(rig, daemon):
    """Events of each type, as many as were accepted, in the dump of the journal and in ClickHouse, values in their
    columns; the sum of all amounts to the last decimal."""
    sent, amounts = collections.Counter(), decimal.Decimal(0)
    for name in FAMILIES:
        for kind, line in accepted(rig, name):
            sent[kind] += 1
            if kind == "transaction":
                amounts += json.loads(line, parse_float=decimal.Decimal)["amount"]
    dump = subprocess.run([rig.program("sluicectl"), "journal", "dump", "--dir", os.path.join(daemon.data, "journal")],
                          capture_output=True, text=True, check=True, timeout=120)
    dumped = collections.Counter(r["type"] for r in map(json.loads, dump.stdout.splitlines()) if r["kind"] == "event")
    rig.expect(len(sent) == 9 and dumped == sent, f"the journal's dump has every type: {dict(dumped)}")
    database = daemon.config["clickhouse"]["database"]
    rows = [line.split("\t") for line in rig.clickhouse.query(
        f"SELECT type, count(), count(amount), count(value), countIf(device_id != ''), countIf(message != '') FROM "
        f"{database}.events_raw GROUP BY type ORDER BY type").splitlines()]
    rows.append(["click", rig.clickhouse.query(f"SELECT count() FROM {database}.clicks_raw").strip()])
    rig.expect({row[0]: int(row[1]) for row in rows} == dict(sent), "ClickHouse has as many rows of each type")
    has = {"transaction": 2, "telemetry": 4, "log": 5}
    wrong = [row for row in rows for kind, column in has.items() if len(row) > 2 and
             int(row[column]) != (int(row[1]) if row[0] == kind else 0)]
    rig.expect(not wrong, f"columns that one type has are NULL or empty in rows of the others {wrong or ''}")
    total = rig.clickhouse.query(f"SELECT toString(sum(amount)) FROM {database}.events_raw").strip()
    rig.expect(decimal.Decimal(total) == amounts, f"the sum of {sent['transaction']} amounts is exact: {total}")


def check_topics(rig, daemon):
    """Without the topics of single types the others lack just those events."""
    args = [a.split(",")[0] if daemon.name + ".payments" in a else a for a in daemon.verify_args(True)]
    out = subprocess.run([rig.program("verify"), "--journal", os.path.join(daemon.data, "journal"), *args],
                         capture_output=True, text=True, timeout=300, check=False)
    rows = [x.split() for x in out.stdout.splitlines()]
    row = next((x for x in rows if x[:2] == ["kafka", daemon.name + ".platform"]), [])
    counts = rig.clickhouse.query(f"SELECT count() FROM {daemon.name}.events_raw WHERE type IN ('transaction', 'log')")
    rig.expect(out.returncode == 1 and counts.strip() in row, f"{counts.strip()} events are in topics of their type")


def check_drops(rig, daemon, want):
    """Every reason that the truth names, as often, and no other one."""
    have = daemon.drops()
    have.pop("shadow_duplicate", None)  # of duplicates that rules with state look at under another key
    want = {k: v for k, v in want.items() if k != "accepted"}
    want.update(not_ip=2, no_listener=2, bad_l2=2)
    rig.expect(have == want, f"named drops are those of the truth file: {have}" +
               ("" if have == want else f" / {want}"))


def check_rest(rig, daemon):
    """Nothing comes from files that have ended: a worker sleeps a millisecond at a time."""
    began, before = time.monotonic(), daemon.ctl("stats")["workers"]
    time.sleep(2)
    after = daemon.ctl("stats")["workers"]
    most = (time.monotonic() - began) * 1000 + 1
    slept = [b["sleeps"] - a["sleeps"] for a, b in zip(before, after, strict=True)]
    rig.expect(all(0 < n <= most for n in slept), f"workers have slept {slept} times in {most:.0f} ms")


def check_alerts(rig, text):
    rig.expect(rig.verify_count(text, "alerts") > 0 and rig.verify_count(text, "dead") > 0,
               "there were alerts and dead letters to compare")


with Rig(sys.argv[1], kafka=3, clickhouse=True) as rig:
    for name, where in FAMILIES.items():
        rig.gen_run(name, pcap=rig.path(name + ".pcap"), file=rig.path(name + ".lines"),
                    seed=rig.seed + len(name + where["dst"]), **where, **EVERY_KIND)
        add_foreign(rig.path(name + ".pcap"))
    with open(rig.path("truth"), "wb") as out:
        subprocess.run(["cat", rig.path("v4.truth"), rig.path("v6.truth")], stdout=out, check=True)
    daemon = Daemon(rig, "pcap", file_ports(rig.path("v4.pcap"), rig.path("v6.pcap")),
                    kafka={"topics": "transaction=pcap.payments,log=pcap.logs"})
    rig.expect(daemon.start(), "sluiced runs")
    rig.expect(daemon.wait_input_ended() and daemon.wait_quiet(), "both files are read to their ends")
    rig.expect(daemon.drain(), "the sinks have delivered all")
    daemon.expect_balanced("drained")
    check_drops(rig, daemon, truth_counts(rig.path("truth")))
    busy = [w.get("frames", 0) for w in daemon.ctl("stats")["workers"]]
    rig.expect(len(busy) == 2 and all(busy), f"both workers had frames: {busy}")
    check_rest(rig, daemon)
    daemon.stop_well("after the drain")
    check_alerts(rig, rig.verify(daemon, "truth = journal + drops, journal = Kafka = ClickHouse", truth="truth"))
    check_types(rig, daemon)
    check_topics(rig, daemon)

    daemon.config["worker"]["count"] = 1
    daemon.config["ports"] = file_ports(rig.path("empty.pcap"))
    with open(rig.path("v4.pcap"), "rb") as f, open(rig.path("empty.pcap"), "wb") as out:
        out.write(f.read(24))
    rig.expect(daemon.start(), "sluiced runs again, with an empty file")
    rig.expect(daemon.drain(), "nothing is left to deliver")
    daemon.expect_balanced("after the restart")
    daemon.stop_well("second stop")
    rig.verify(daemon, "still exactly once after a restart with nothing new", truth="truth")

    # SIGTERM while a file is being read: what was taken is delivered, and the next run brings the rest.
    # Not all of it again: what is taken must be delivered within the time that a stop has.
    rig.gen_run("early", pcap=rig.path("early.pcap"), seed=rig.seed, **FAMILIES["v4"],
                **dict(EVERY_KIND, count=EVENTS // 3))
    early = Daemon(rig, "early", file_ports(rig.path("early.pcap"), rig.path("empty.pcap")))
    rig.expect(early.start(), "a second journal, stopped in the middle")
    early.stop_well("in the middle")
    rig.verify(early, "what was journaled before SIGTERM is everywhere, without another run")
rig.done()
