#!/usr/bin/env python3
"""How long after the watermark a closed window is in Kafka, and there for a read-committed consumer.

    perf/window_latency.py BUILD_DIR [RATE] [SECONDS] [rows] [K=V...]    rows: kafka.events is off; K=V: kafka.options

sluice-gen sends RATE events a second from a network namespace to DPDK's af_packet, a real single-node Kafka and the
consumer (kcat) run beside sluiced on the same cores; all events go to Kafka, too, if not told
otherwise. Windows of 1 s by source and page close at steps of 100 ms, the shortest there are. For each row two moments:

  acked    the broker's clock when it appended the row (its topic has LogAppendTime): what follows is the answer
  visible  the consumer's clock when it got the row, after its transaction was committed

each minus

  closed   the receive time of the row: of the input block whose watermark closed the window in the row's partitions
  passed   the receive time of the block with which the last of all partitions passed the window's end: merged rows wait
           for it; as the marks of the output log state it

so that all include the journal's write and the output log's. Then what load the machine held: a latency under a load
that did not get through says nothing. Needs root, what ./run deps installs, and about 1 GB of scratch space for each
million events."""
import bisect
import collections
import json
import os
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "integration", "e2e"))
from common import PARTITIONS, cpu_seconds  # noqa: E402  (the others need the path above)
from daemon import UDP_PORT, Daemon  # noqa: E402
from netns import Sender  # noqa: E402
from rig import Rig, wait_until  # noqa: E402

WINDOW = "pages"
WARM_SECONDS, ORDER_MS = 5, 50
LOST = ("no_batch", "journal_full")  # other drops, as of frames that are not for us, are no sign of overload
SECTIONS = {
    "time": {"out_of_orderness": f"{ORDER_MS}ms", "tick": "100ms"},
    "state": {"step": "100ms", "segments_max": 64},
    "journal": {"partitions": PARTITIONS, "segment_bytes": "64MiB", "segments_max": 32, "dedup_window": "10s",
                "dedup_ids_max": 1000000},
    "kafka": {"tx_events_max": 50000, "tx_age": "200ms", "topic_late": "lat.late", "topic_aggregates": "lat.window."},
}


class Consumer:
    """kcat, read-committed; notes when the broker appended each row, and when it came."""

    def __init__(self, rig):
        self.seen, self.newest_ms, self.rig, self.child = {}, 0, rig, None
        self.topic = SECTIONS["kafka"]["topic_aggregates"] + WINDOW
        self.kcat = ["kcat", "-b", rig.kafka.brokers]

    def topic_there(self):
        out = subprocess.run([*self.kcat, "-L", "-J"], capture_output=True, text=True, timeout=30, check=False).stdout
        return out and any(t["topic"] == self.topic and t["partitions"] for t in json.loads(out)["topics"])

    def in_time(self):
        """Producers and consumer have connected and caught up: the newest row's window has just ended."""
        return self.newest_ms > (time.time() - WARM_SECONDS) * 1000

    def start(self):
        self.child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *self.kcat, "-X", "isolation.level=read_committed", "-C", "-t",
             self.topic, "-o", "end", "-q", "-u", "-f", "%T %h %s\\n"], stdout=subprocess.PIPE, text=True)
        self.rig.children.append(self.child)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.child.stdout:
            now = time.time() * 1000
            appended, headers, row = line.strip().split(" ", 2)
            self.newest_ms = json.loads(row)["end_ms"]
            headers = dict(h.split("=", 1) for h in headers.split(","))
            self.seen[int(headers["sluice-address"].split("/")[3])] = (int(appended), now)


def records(rig, daemon, partition):
    """Of the output log; sluiced must not run."""
    dump = subprocess.Popen([rig.program("sluicectl"), "--json", "journal", "dump", "--dir",
                             os.path.join(daemon.data, "output"), "--partition", str(partition)],
                            stdout=subprocess.PIPE, text=True)
    for line in dump.stdout:
        yield json.loads(line)
    if dump.wait():
        sys.exit("the output log cannot be read")


class Passed:
    """When the watermark of all partitions passed a time."""

    def __init__(self, rig, daemon):
        self.marks = []
        for p in range(PARTITIONS):
            marks = [(r["event_time_ms"], r["receive_time_ms"]) for r in records(rig, daemon, p) if r["kind"] == "mark"]
            self.marks.append(list(zip(*marks)))

    def at(self, end_ms):
        return max(received[bisect.bisect_left(steps, end_ms)] for steps, received in self.marks)


def line(name, ms):
    ms = sorted(ms)

    def rank(share):
        return ms[min(len(ms) - 1, int(share * len(ms)))]

    return f"{name}: p50 {rank(.5):.0f} ms, p99 {rank(.99):.0f} ms, max {ms[-1]:.0f} ms"


def load(daemon):
    """Counters of the load, at a time."""
    status = daemon.ctl("status")
    parts = daemon.ctl("windows")["partitions"]
    return {"at": time.time(), "journaled": status["events"]["journaled"],
            "drops": sum(d["count"] for d in status.get("drops", []) if d["reason"] in LOST),
            "sent_on": sum(s["events"] for s in status["sinks"] if s["sink"] == "kafka"),
            "lag": sum(s["lag_events"] for s in status["sinks"]),
            "behind": sum(p["behind"] for p in parts),
            "kernel": sum(p.get("kernel_drops", 0) for p in daemon.ctl("ports")["ports"]),
            "sluiced": cpu_seconds(daemon.child.pid), "kafka": cpu_seconds(daemon.rig.kafka.pid(1))}


def report_load(rate, a, b):
    """Whether it held."""
    took = b["at"] - a["at"]
    journaled, sent_on = (b["journaled"] - a["journaled"]) / took, (b["sent_on"] - a["sent_on"]) / took
    lost, kernel = b["drops"] - a["drops"], b["kernel"] - a["kernel"]
    held = journaled >= 0.95 * rate and b["behind"] < rate and not lost and not kernel
    print(f"load: {rate} events/s asked for, {journaled:,.0f}/s journaled, {sent_on:,.0f}/s committed in Kafka; "
          f"dropped {lost}, by the kernel {kernel}; at the end the state stage is {b['behind']} records behind, the "
          f"sinks {b['lag']} (before: {a['lag']}); CPU: sluiced {(b['sluiced'] - a['sluiced']) / took:.2f}, "
          f"Kafka {(b['kafka'] - a['kafka']) / took:.2f} cores of "
          f"{os.cpu_count()}, load average {os.getloadavg()[0]:.1f}: {'held' if held else 'NOT HELD'}")
    return held


def report_rows(rig, daemon, seen, begin_ms):
    """Rows whose window ended after begin_ms: the consumer was there."""
    passed, times, last, lost = Passed(rig, daemon), collections.defaultdict(list), collections.Counter(), 0
    for r in records(rig, daemon, PARTITIONS):
        if r["kind"] != "row" or r["event_time_ms"] < begin_ms or r["event_time_ms"] > begin_ms + SECONDS * 1000:
            continue
        at, end_ms = seen.get(r["offset"]), r["event_time_ms"]
        if at is None:
            lost += 1
            continue
        for name, moment in zip(("acked", "visible"), at):
            times[name + ", from closed"].append(moment - r["receive_time_ms"])
            times[name + ", from passed"].append(moment - passed.at(end_ms))
        last[end_ms] = max(last[end_ms], at[1] - passed.at(end_ms))
        times["passed, from closed"].append(passed.at(end_ms) - r["receive_time_ms"])
    if not times:
        sys.exit("no row came")
    print(f"{len(times['passed, from closed'])} rows of {len(last)} windows, {lost} not seen by the consumer")
    for name, ms in times.items():
        print(line("  a row " + name, ms))
    print(line("  the last row of a window visible, from passed", last.values()))
    return not lost


RATE = int(sys.argv[2]) if len(sys.argv) > 2 else 200000
SECONDS = int(sys.argv[3]) if len(sys.argv) > 3 else 30
ROWS_ONLY = "rows" in sys.argv[4:]
OPTIONS = ",".join(word for word in sys.argv[4:] if "=" in word)
os.environ.setdefault("KAFKA_HEAP", "1g")
with Rig(sys.argv[1], kafka=1, root=True) as rig:
    sender = Sender(rig)
    sender.run = ["nice", "-n", "-10", *sender.run]  # stands for other machines, which nobody here would hold up
    daemon = Daemon(rig, "lat", sender.af_packet(1), workers=1, sinks=False)
    daemon.config["kafka"] = {"enabled": True, "events": not ROWS_ONLY, "options": OPTIONS, "replication": 1,
                              "min_isr": 1, "brokers": rig.kafka.brokers}
    for section, body in SECTIONS.items():
        daemon.config.setdefault(section, {}).update(body)
    daemon.config["windows"] = [{"name": WINDOW, "size": "1s", "by": "source, page", "aggregates": "count"}]
    if not rig.expect(daemon.start(), "sluiced runs"):
        sys.exit(daemon.log_tail())
    consumer = Consumer(rig)
    rig.expect(wait_until(consumer.topic_there, 60, "the windows' topic"), "topics are there")
    rig.kafka.verb("config", SECTIONS["kafka"]["topic_aggregates"] + WINDOW, "message.timestamp.type=LogAppendTime")
    gen = sender.gen("load", 4, UDP_PORT, mix="click=1,platform=1", rate=RATE, events_per_datagram=6, flows=16,
                     disorder_ms=ORDER_MS // 2)
    consumer.start()
    rig.expect(wait_until(consumer.in_time, 60, "rows in time"), "rows come in time")
    time.sleep(WARM_SECONDS)
    begin_ms, before = time.time() * 1000, load(daemon)
    time.sleep(SECONDS)
    after = load(daemon)
    time.sleep(3)  # the last windows: while events come, so that they close as the others
    rig.gen_stop("load", gen)
    daemon.stop_well("lat", seconds=120)
    time.sleep(1)
    held = report_load(RATE, before, after)
    rig.expect(report_rows(rig, daemon, dict(consumer.seen), begin_ms), "each row came")
sys.exit(0 if held and not rig.failures else 1)
