#!/usr/bin/env python3
"""How long after its packet an alert is decided, in Kafka, and there for a read-committed consumer.

    perf/alert_latency.py BUILD_DIR [RATE] [SECONDS] [events] [K=V...]    events: these go to Kafka, too; K: section.key

sluice-gen sends RATE events a second, which no rule hits, from a network namespace to DPDK's af_packet; beside it
PROBES events a second that rules hit, each alone in a datagram. A real single-node Kafka and the consumer (kcat) run on
the same cores. Moments of an alert, all after its probe was handed to the kernel, by the same clock:

  decided  durable in the log that sinks read it from: the journal for a rule over single events, the output log of the
           state stage for a stateful one (both with the writes that they wait for)
  acked    the broker's answer came (seen within 1 ms)
  visible  the consumer got it, after its transaction was committed

Environment: PROBES (200), probes a second, each of which is a transaction; WARM (15), seconds before it is measured.

Then what load the machine held: a latency under a load that did not get through says nothing. Needs root and what
./run deps installs."""
import glob
import os
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "integration", "e2e"))
from common import PARTITIONS, cpu_seconds, worker_seconds  # noqa: E402  (the others need the path above)
from daemon import UDP_PORT, Daemon  # noqa: E402
from netns import Sender, TARGET  # noqa: E402
from rig import Rig, wait_until  # noqa: E402

PROBES, WARM_SECONDS = int(os.environ.get("PROBES", "200")), int(os.environ.get("WARM", "15"))
RULES = """rules:
  - id: single
    severity: high
    when: {page: {prefix: /probe/single}}
    then: [alert]
  - id: arrival
    severity: high
    when: {page: {prefix: /probe/arrival}}
    by: user_id
    suppress: 1s
    then: [alert]
"""
PROBE = """
import socket, sys, time, uuid
host, port, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
to, n, due = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0, time.monotonic()
while True:
    rule = ("single", "arrival")[n % 2]
    event = ('{"event_id":"%s","ts":%d,"user_id":"p%d","page":"/probe/%s"}' %
             (uuid.uuid4(), time.time() * 1000, n, rule)).encode()
    now = time.time_ns()
    to.sendto(event, (host, port))
    print(f"{rule}/p{n} {now}", flush=True)
    n, due = n + 1, due + 1 / rate
    time.sleep(max(0, due - time.monotonic()))
"""
SECTIONS = {
    "journal": {"partitions": PARTITIONS, "segment_bytes": "64MiB", "segments_max": 32, "dedup_window": "10s",
                "dedup_ids_max": 1000000, "cache_blocks": 512},
    "state": {"defaults": False, "segments_max": 64},
}


class Lines:
    """A program's lines as they come, each with the time at which it came."""

    def __init__(self, rig, command):
        self.seen = {}
        self.child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdout=subprocess.PIPE, text=True)
        rig.children.append(self.child)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.child.stdout:
            key, *rest = line.split()
            self.seen[key.replace("user_id=", "")] = int(rest[0]) if rest else time.time_ns()


def load(daemon, kafka):
    status = daemon.ctl("status")
    return {"at": time.time(), "journaled": status["events"]["journaled"],
            "drops": sum(d["count"] for d in status.get("drops", []) if d["reason"] in ("no_batch", "journal_full")),
            "lag": sum(s["lag_events"] for s in status["sinks"]),
            "commits": sum(p["commits"] for p in daemon.ctl("sinks")["sinks"] if p["sink"].startswith("kafka_al")),
            "kernel": sum(p.get("kernel_drops", 0) for p in daemon.ctl("ports")["ports"]),
            "sluiced": cpu_seconds(daemon.child.pid), "worker": worker_seconds(daemon.child.pid),
            "kafka": cpu_seconds(kafka)}


def report_load(rate, a, b):
    took = b["at"] - a["at"]
    per = {key: (b[key] - a[key]) / took for key in a}
    held = per["journaled"] >= 0.95 * rate and not per["drops"] and not per["kernel"] and b["lag"] < a["lag"] + rate
    print(f"load: {rate} events/s asked for, {per['journaled']:,.0f}/s journaled, dropped {b['drops'] - a['drops']}, "
          f"by the kernel {b['kernel'] - a['kernel']}, lag of sinks {b['lag']}; {per['commits']:.0f} transactions of "
          f"alerts a second; CPU: sluiced {per['sluiced']:.2f} (worker {per['worker']:.2f}), "
          f"Kafka {per['kafka']:.2f} cores of {os.cpu_count()}, "
          f"load average {os.getloadavg()[0]:.1f}: {'held' if held else 'NOT HELD'}")
    return held


def report(rule, name, ns):
    ms = sorted(n / 1e6 for n in ns)

    def rank(share):
        return ms[min(len(ms) - 1, int(share * len(ms)))]

    ranks = "  ".join(f"p{100 * share:g} {rank(share):6.2f}" for share in (.5, .99, .999))
    print(f"  {rule:8} {name:8} {ranks}  max {ms[-1]:6.2f} ms")


def report_alerts(rig, sent, visible, begin_ns, end_ns):
    traced, lost = {}, 0
    for path in glob.glob(rig.path("trace-*")):
        with open(path, encoding="ascii") as f:
            for line in f:
                key, *ns = line.split()
                traced[key.replace("user_id=", "")] = tuple(map(int, ns))
    for rule in ("single", "arrival"):
        times = {"decided": [], "acked": [], "visible": []}
        for key, at in sent.items():
            if not key.startswith(rule) or not begin_ns < at < end_ns:
                continue
            if key not in traced or key not in visible:
                lost += 1
                continue
            times["decided"].append(traced[key][0] - at)
            times["acked"].append(traced[key][1] - at)
            times["visible"].append(visible[key] - at)
        if not times["acked"]:
            sys.exit(f"no alert of {rule} came")
        for name, ns in times.items():
            report(f"{rule}", name, ns)
    print(f"  {lost} probes without an alert")
    return lost == 0


RATE = int(sys.argv[2]) if len(sys.argv) > 2 else 50000
SECONDS = int(sys.argv[3]) if len(sys.argv) > 3 else 20
EVENTS = "events" in sys.argv[4:]
os.environ.setdefault("KAFKA_HEAP", "1g")
with Rig(sys.argv[1], kafka=1, root=True) as rig:
    sender = Sender(rig)
    with open(rig.path("probe.py"), "w", encoding="ascii") as f:
        f.write(PROBE)
    os.mkdir(rig.path("rules"))
    with open(rig.path("rules/probes.yaml"), "w", encoding="ascii") as f:
        f.write(RULES)
    daemon = Daemon(rig, "lat", sender.af_packet(1), workers=1, sinks=False)
    daemon.env["SLUICE_ALERT_TRACE"] = rig.path("trace")
    daemon.config["kafka"] = {"enabled": True, "events": EVENTS, "replication": 1, "min_isr": 1,
                              "brokers": rig.kafka.brokers, "topic_alerts": "lat.alerts"}
    for section, body in SECTIONS.items():
        daemon.config.setdefault(section, {}).update(body)
    daemon.config["rules"] = {"dir": rig.path("rules")}
    for word in sys.argv[4:]:
        if "=" in word:
            name, value = word.split("=", 1)
            section, key = name.split(".")
            daemon.config.setdefault(section, {})[key] = value
    if not rig.expect(daemon.start(), "sluiced runs"):
        sys.exit(rig.text(daemon.log, 3000))
    kcat = ["kcat", "-b", rig.kafka.brokers]
    rig.expect(wait_until(lambda: all(p["state"] == "running" for p in daemon.ctl("sinks")["sinks"]), 90, "sinks"),
               "sinks run")
    visible = Lines(rig, [*kcat, "-X", "isolation.level=read_committed", "-X", "fetch.wait.max.ms=5", "-C", "-t",
                          "lat.alerts", "-o", "end", "-q", "-u", "-f", "%k\\n"])
    gen = sender.gen("load", 4, UDP_PORT, mix="click=1,platform=1", rate=RATE, events_per_datagram=6, flows=16)
    time.sleep(1)
    sent = Lines(rig, [*sender.run, sys.executable, rig.path("probe.py"), TARGET[4], str(UDP_PORT), str(PROBES)])
    rig.expect(wait_until(lambda: len(visible.seen) > 100, 60, "alerts"), "alerts come")
    time.sleep(WARM_SECONDS)
    begin_ns, before = time.time_ns(), load(daemon, rig.kafka.pid(1))
    time.sleep(SECONDS)
    end_ns, after = time.time_ns(), load(daemon, rig.kafka.pid(1))
    time.sleep(2)
    sent.child.kill()
    rig.gen_stop("load", gen)
    held = report_load(RATE, before, after)
    daemon.stop_well("lat", seconds=120)
    time.sleep(1)
    rig.expect(report_alerts(rig, dict(sent.seen), dict(visible.seen), begin_ns, end_ns), "each alert came")
sys.exit(0 if held and not rig.failures else 1)
