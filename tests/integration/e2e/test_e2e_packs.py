"""The shipped packs, end to end: scenarios of every rule with state that must alert and ones that must not, in traffic
of every event type with duplicates, malformed events and disorder; two capture files through two workers into four
partitions, real Kafka, real ClickHouse. A restart, behind which later events bring the watermark forward.

Shown: alerts in Kafka, in ClickHouse and of an offline replay are the same; each scenario has one alert, of its rule
and key, with events of its own as evidence; no other alert of a rule with state is there. SLUICE_PACKS_SECONDS: event
time that the files cover (420)."""
import collections
import os
import sys

from alerts import check_alerts
from daemon import Daemon, file_ports, now_ms
from rig import SOURCE, Rig
from windows import settle, stopped

sys.path.insert(0, os.path.join(SOURCE, "scripts"))
from scenario_check import Verdict, read  # noqa: E402

SECONDS = int(os.environ.get("SLUICE_PACKS_SECONDS", "420"))
RATE = 250  # events a second of event time, in each file
MIX = dict(ts_rate=RATE, mix="all", events_per_datagram=6, flows=16, dup_permille=20, bad_permille=10, noid_permille=5,
           escape_permille=10, utf8_permille=10, extra_permille=10, disorder_ms=3000)


def made(rig, name, start, **options):
    rig.gen_run(name, pcap=rig.path(name + ".pcap"), start_ts=start, scenario_truth=rig.path(name + ".scenarios"),
                seed=rig.seed + len(name), **dict(MIX, **options))


def run_files(rig, daemon, *names):
    """Takes what is in these files. Returns whether all of it arrived and is durable."""
    daemon.config["ports"] = file_ports(*(rig.path(name + ".pcap") for name in names))
    daemon.config["worker"]["count"] = len(names)
    return rig.expect(daemon.start(), "sluiced runs") and \
        rig.expect(daemon.wait_input_ended() and daemon.wait_quiet(), f"read to the end: {names}")


def check_scenarios(rig, alerts, names):
    scenarios = list(read(*(rig.path(name + ".scenarios") for name in names)))
    verdict = Verdict(scenarios, [(a["rule_id"], a["key"]) for a in alerts])
    print("\n".join(verdict.lines()), flush=True)
    rig.expect(not verdict.missed and not verdict.wrong and not verdict.strange,
               f"{verdict.found.total()} scenarios found, {verdict.silent.total()} silent")
    want = {a["id"] for a in rig.stateful}
    rig.expect(verdict.found.keys() == want and verdict.silent.keys() == want,
               f"of each of {len(want)} rules with state one that alerts and one that does not "
               f"{sorted(want ^ verdict.found.keys() | want ^ verdict.silent.keys()) or ''}")
    ids = collections.defaultdict(set)
    for s in scenarios:
        ids[(s["rule"], s["key"])] |= set(s["ids"])
    wrong = [a for a in alerts if not a["event_ids"] or not set(a["event_ids"]) <= ids[(a["rule_id"], a["key"])]]
    rig.expect(not wrong, f"evidence is of each scenario's own events {wrong[:1] or ''}")


with Rig(sys.argv[1], kafka=1, clickhouse=True) as rig:
    start = now_ms() - (2 * SECONDS + 3600) * 1000
    made(rig, "a", start, count=SECONDS * RATE, scenarios=60)
    made(rig, "bb", start, count=SECONDS * RATE, scenarios=60, src="[2001:db8::1]:40000", dst="[2001:db8::2]:5140")
    made(rig, "later", now_ms() - 20000, count=20 * RATE, scenarios=1)
    # A file is read faster than the clock goes, and one of them before the other.
    daemon = Daemon(rig, "packs", [], time={"out_of_orderness": f"{SECONDS + 1800}s", "tick": "1s"},
                    state={"enabled": True, "step": "1s", "checkpoint_every": "2s"},
                    kafka={"topic_late": "packs.late", "topic_aggregates": "packs.window."})
    daemon.config["windows"] = [{"name": "sources", "size": "1m", "by": "source", "types": "platform",
                                 "aggregates": "count"}]
    if run_files(rig, daemon, "a", "bb"):
        busy = [w.get("frames", 0) for w in daemon.ctl("stats")["workers"]]
        rig.expect(len(busy) == 2 and all(busy), f"both workers had frames: {busy}")
        lost = {k: n for k, n in daemon.drops().items() if "batch" in k}
        rig.expect(not lost, f"nothing was lost for want of room {lost or ''}")
        rig.expect(daemon.drain(600), "the sinks have delivered all")
        daemon.stop_well("the files")
    if run_files(rig, daemon, "later"):
        settle(rig, daemon, start + (SECONDS + 60) * 1000)
        rig.stateful = (daemon.ctl("rules", "stats") or {}).get("stateful", [])
        odd = [r["id"] for r in rig.stateful if r["evicted"] or not r["alerts"]]
        rig.expect(len(rig.stateful) >= 17 and not odd, f"{len(rig.stateful)} rules with state alert, no key was "
                   f"evicted {odd or ''}")
        daemon.stop_well("later")
    rig.expect(not stopped(daemon), f"no partition's replay ever differed {stopped(daemon)[:2] or ''}")
    check_scenarios(rig, check_alerts(rig, daemon), ("a", "bb", "later"))
    rig.verify(daemon, "raw events")
rig.done()
