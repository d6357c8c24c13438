#!/usr/bin/env python3
"""Whole pipelines per CPU-second: sluice from datagrams to window rows in Kafka, against Apache Flink from Kafka to
Kafka, the same events, a real broker, in one run.

    perf/peer_pipeline.py BUILD_DIR [EVENTS] [CASE...]     CASE: one of the names that it prints, or a
                                                          part of several; all if none

JSON clicks, counted in tumbling minutes by page and country with a bound of 10 s; no event is late.

  sluice   a capture file, six events a datagram, is read by a DPDK port as fast as the journal takes it: decoded,
           parsed and validated, journaled durably, windows, rows by transactions. With the file no sender is paid for.
  Flink    jobs written by hand, and in SQL with Flink's JSON format. Each reads the same JSON from a topic of four
           partitions, one event a message, as the usual pipeline has them. What brought them there (a producer, its
           collector) is not counted for it either.

The cost is the CPU time (user and system, all threads) of sluiced and of Flink's JVM; the broker's is shown beside it.
sluice: the difference of two runs, one over a fifth of the events: what start and end cost falls out. Flink: one JVM
runs the job over a fifth of the events first, so that code is compiled, then over all; from the first record on, and in
SQL the difference of two runs, too. Rows must be equal by value, but those of the windows that are still open at the
end, which only Flink closes."""
import collections
import datetime
import json
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ("equality", "e2e"):
    sys.path.insert(0, os.path.join(HERE, "..", "tests", "integration", folder))
import flink  # noqa: E402  (needs the path above)
from common import START_MS, cpu_seconds, threads_cpu, topic_fill, topic_lines  # noqa: E402
from daemon import Daemon, file_ports  # noqa: E402
from rig import Rig, skip, wait_until  # noqa: E402

EVENT_SECONDS, SIZE_MS, BOUND_MS, PAGES, PARTITIONS, FRACTION = 600, 60000, 10000, 200, 4, 5
MINUTE = len("2026-01-01T00:00")  # of a time as text: nothing else closes windows
BARE = {"kafka": {"events": False}, "journal": {"dedup_window": "0"}, "rules": {"dir": ""}}  # what the Flink job does
SLUICE = {
    "sluice, rows only": BARE,
    "sluice, rows only, ids deduplicated": {**BARE, "journal": {}},
    "sluice, rows only, ids deduplicated, 19 rules": {"kafka": {"events": False}},
    "sluice, all: ids deduplicated, 19 rules, alerts, each event to Kafka": {},
}
FLINK = {
    "Flink, whole text parsed, at least once": dict(parser="whole", par=1),
    "Flink, parsed up to the last field, at least once": dict(parser="stream", par=1),
    "Flink, events as objects, at least once": dict(parser="object", par=1),
    "Flink, whole text parsed, at least once, two slots": dict(parser="whole", par=2),
    "Flink SQL, at least once": dict(program="Sql", par=1),
    "Flink SQL, exactly once each 10 s": dict(program="Sql", par=1, exactly_once=10000),
    "Flink, whole text parsed, exactly once each 10 s": dict(parser="whole", par=1, exactly_once=10000),
    "Flink, whole text parsed, exactly once each second": dict(parser="whole", par=1, exactly_once=1000),
}


def payloads(path):
    """Of the UDP datagrams of a capture file that sluice-gen wrote."""
    with open(path, "rb") as f:
        data = f.read()
    at, record = 24, struct.Struct("<8xI4x")
    while at < len(data):
        bytes_ = record.unpack_from(data, at)[0]
        yield data[at + 16 + 14 + 20 + 8:at + 16 + bytes_]
        at += 16 + bytes_


def load(rig, name, events):
    """Makes the capture file, and sends its events to a topic of the same name."""
    rig.gen_run(name, timeout=600, pcap=rig.path(name + ".pcap"), seed=7, count=events, start_ts=START_MS,
                mix="click=1", events_per_datagram=6, pages=PAGES, ts_rate=max(1, events // EVENT_SECONDS),
                disorder_ms=BOUND_MS - 1000)
    lines = rig.path(name + ".lines")
    with open(lines, "wb") as f:
        for payload in payloads(rig.path(name + ".pcap")):
            f.write(payload.rstrip(b"\n") + b"\n")
    topic_fill(rig.kafka.brokers, name, lines)
    os.unlink(lines)


def time_ms(value):
    """Of a number, or of a time of Flink's SQL, which is UTC without saying so."""
    if isinstance(value, str):
        return int(datetime.datetime.fromisoformat(value + "+00:00").timestamp() * 1000)
    return value


def rows_of(rig, topic, start, end):
    """(start, page, country) -> count, as read-committed readers see it; a row that comes twice is an error."""
    found = collections.Counter()
    for line in topic_lines(rig.kafka.brokers, topic):
        row = json.loads(line)
        key = (time_ms(row[start]), time_ms(row[end]), row["page"], row["country"])
        if key in found:
            sys.exit(f"{topic}: twice: {key}")
        found[key] = row["count"]
    return found


def broker_cpu(rig):
    return cpu_seconds(rig.kafka.pid(1))


class Sluice:
    """One run of sluiced over a capture file."""

    def __init__(self, rig, number, sections, source, events):
        self.rig, self.events, self.threads = rig, events, None
        name = f"s{number}"
        d = Daemon(rig, name, file_ports(rig.path(source + ".pcap")), workers=1, sinks=False)
        self.topic = name + ".window.pages"
        d.config["kafka"] = {"enabled": True, "brokers": rig.kafka.brokers, "partitions": PARTITIONS,
                             "partitions_other": PARTITIONS, "replication": 1, "min_isr": 1,
                             "topic_aggregates": name + ".window.", "topic_positions": name + ".positions",
                             "topic_click": name + ".clicks", "topic_alerts": name + ".alerts",
                             "topic_dead": name + ".dead", "topic_platform": name + ".other",
                             "topic_late": name + ".late"}
        # As a partition a core and for throughput; a block waits 5 ms at most, where Flink's buffers wait 100.
        d.config["journal"] = {"partitions": os.cpu_count(), "segment_bytes": "64MiB", "segments_max": 256,
                               "block_bytes": "1MiB", "block_age": "5ms"}
        d.config["time"] = {"past_max": "0", "out_of_orderness": f"{BOUND_MS}ms"}
        d.config["windows"] = [{"name": "pages", "size": f"{SIZE_MS}ms", "by": "page, country", "aggregates": "count"}]
        for section, body in sections.items():
            d.config[section].update(body)
        self.daemon = d

    def delivered(self):
        """Everything is journaled, in windows, and passed on or over by the sink; every row of a closed window is
        committed. Ticks go on, so that a lag need not become 0."""
        if self.daemon.counter("journaled") < self.events:
            return False
        windows, sinks = self.daemon.ctl("windows"), self.daemon.ctl("sinks")["sinks"]
        parts, merge = windows["partitions"], windows["merge"]
        return (not any(p["behind"] for p in parts) and
                merge["up_to"][:MINUTE] >= min(p["step"] for p in parts)[:MINUTE] and
                merge["rows"] == sum(s["rows"] for s in sinks if s["sink"] == "kafka-output") and
                sum(s["events"] + s["suppressed"] for s in sinks if s["sink"] == "kafka") == self.events)

    def run(self):
        """CPU seconds of sluiced and of the broker."""
        broker = broker_cpu(self.rig)
        if not self.rig.expect(self.daemon.start(), "sluiced runs") or \
                not self.rig.expect(wait_until(self.delivered, 180, "all rows", step=0.1), "all rows are committed"):
            sys.exit(self.daemon.log_tail())
        self.threads = threads_cpu(self.daemon.child.pid)
        cost = [cpu_seconds(self.daemon.child.pid), broker_cpu(self.rig) - broker]
        status = self.daemon.ctl("status")
        lost = [d for d in status.get("drops", []) if d["count"]]
        late = sum(s["late"] for s in status["sinks"])
        self.rig.expect(status["events"]["journaled"] == self.events and not lost and not late,
                        f"{self.events} events journaled, lost {lost}, late {late}")
        self.daemon.stop_well("sluiced")
        return cost


def measure_sluice(rig, number, sections, events):
    """CPU ns an event of sluiced and of the broker; the rows, by their keys."""
    first = Sluice(rig, number, sections, "warm", events // FRACTION)
    main = Sluice(rig, number + 1, sections, "clicks", events)
    small, large, more = first.run(), main.run(), events - events // FRACTION
    own, broker = [(b - a) / more * 1e9 for a, b in zip(small, large)]
    print("ns an event by threads: " + ", ".join(f"{name} {(s - first.threads[name]) / more * 1e9:.0f}"
                                                 for name, s in main.threads.most_common()))
    return own, broker, rows_of(rig, main.topic, "start_ms", "end_ms")


def measure_flink(rig, number, class_path, arguments, events):
    out, broker = f"f{number}", broker_cpu(rig)
    flink.topics(class_path, rig.kafka.brokers, **{out: PARTITIONS, out + ".warm": PARTITIONS})
    fewer = events // FRACTION
    more = {"program": "Pipeline", "in": "clicks", "exactly_once": 0, **arguments}
    said = flink.run(class_path, heap="2g", brokers=rig.kafka.brokers, warm="warm", out=out, size=SIZE_MS,
                     bound=BOUND_MS, dir=rig.path(out), events=events, fewer=fewer, **more)
    broker = (broker_cpu(rig) - broker) / (events + fewer * (1 if more["program"] == "Pipeline" else 2)) * 1e9
    rows = rows_of(rig, out, "start_ms", "end_ms")
    rig.expect(int(said["events"]) == events == sum(rows.values()), f"Flink's rows count all of {events} events")
    return int(said["cpu_ns"]) / events, broker, rows


def compare(rig, results):
    """Every window that sluice has closed, in all runs alike."""
    rows = {name: r[2] for name, r in results.items()}
    until = min(max((k[1] for k in r), default=0) for r in rows.values())
    closed = {name: {k: n for k, n in r.items() if k[1] <= until} for name, r in rows.items()}
    first = next(iter(closed.values()))
    for name, r in closed.items():
        differ = [(k, r.get(k), first.get(k)) for k in r.keys() | first.keys() if r.get(k) != first.get(k)]
        rig.expect(not differ and r, f"{name}: {len(r)} rows of {len({k[0] for k in r})} windows, {sum(r.values())} "
                   f"events, equal to the first case's {differ[:3] or ''}")


def report(results):
    ours = {n: r for n, r in results.items() if n in SLUICE}
    theirs = {n: r for n, r in results.items() if n in FLINK}
    for name, (own, broker, _) in results.items():
        print(f"{name:70} {own:7.0f} ns of CPU an event = {1e3 / own:6.3f} M events per CPU-second; broker "
              f"{broker:5.0f} ns")
    for a, x in ours.items():
        for b, y in theirs.items():
            print(f"{y[0] / x[0]:6.1f} times: {a} / {b}")


def main():
    events = int(sys.argv[2]) if len(sys.argv) > 2 else 5000000
    known, words = [*SLUICE, *FLINK], sys.argv[3:]
    wanted = [n for n in known if not words or any(w == n or (w in n and w not in known) for w in words)]
    reason = flink.missing()
    if reason:
        skip(reason)
    os.environ.setdefault("KAFKA_HEAP", "1g")
    with Rig(sys.argv[1], kafka=1) as rig:
        class_path, results = flink.build(rig.dir), {}
        flink.topics(class_path, rig.kafka.brokers, warm=PARTITIONS, clicks=PARTITIONS)
        load(rig, "warm", events // FRACTION)
        load(rig, "clicks", events)
        for number, name in enumerate(wanted):
            results[name] = (measure_sluice(rig, 10 * number, SLUICE[name], events) if name in SLUICE else
                             measure_flink(rig, number, class_path, FLINK[name], events))
            print(f"{name}: {results[name][0]:.0f} ns", flush=True)
        compare(rig, results)
    report(results)
    rig.done()


main()
