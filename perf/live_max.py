#!/usr/bin/env python3
"""The most that one machine holds end to end, live, with nothing lost; and Apache Flink's usual path over the same
events beside it, in the same run, on the same cores, with the same broker and the same ClickHouse engine.

    perf/live_max.py BUILD_DIR [SECONDS [RATE]] [check] [SECTION.KEY=VALUE...]      20 s, from 20,000 events/s on

  sluice   udp_blast in a network namespace sends JSON clicks, six a datagram, through a veth pair to an af_packet port
           of sluiced: ids deduplicated, the shipped rules in force, each event to Kafka by transactions and to
           ClickHouse. A rate is *held* if over SECONDS no event was lost under any name, the sender was not late, no
           sink and not the state stage was more than two seconds of the rate behind at the end of the sending (lanes
           of alerts and rows: four) or fell further behind meanwhile, and both sinks then had all of it; sluice-verify
           says so by address and id. The rate is doubled until it is not held, then bisected to 10 %; one that is not
           held is tried once more.
  Flink    reads the same events from a topic of four partitions that was filled before (what brought them there is not
           counted), parses them, drops ids seen before by keyed state with a TTL, and writes each to a topic exactly
           once and to a table like sluice's by RowBinary, checkpoints each second. Its rate is events by time, from the
           first fifth on until all are read: nothing has to keep up, nothing can be lost.

One of a hundred events is sent twice. Distinct ids in either topic (read-committed) and table, and a checksum over the
columns, must be the same on both sides. CPU is that of each process from the first event to the last commit, of Flink
while its rate is taken; `others` is what else ran on the machine. SECTION.KEY=VALUE changes sluiced's configuration.
`check`: some thousand events through both, with all comparisons and no search, for a machine that is not quiet. Needs
root, what ./run deps installs, -Dbench=true, and about 2 GB of scratch space for each million events."""
import collections
import os
import shutil
import subprocess
import sys
import threading
import time

from common import PARTITIONS, cpu_seconds, machine_seconds, threads_cpu, topic_fill, topic_lines
from receive import UDP_PORT, Daemon, blast, lines_pack

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "integration", "equality"))
import flink  # noqa: E402  (needs the path above)
from daemon import now_ms  # noqa: E402
from netns import Sender  # noqa: E402
from rig import Rig, say, skip, wait_until  # noqa: E402

PER_DATAGRAM, DUP_PERMILLE, TOLERANCE, TRIES = 6, 10, 1.1, 2
GROWTH, LATE_SECONDS, LOOK_SECONDS = 0.05, 0.5, 0.5
# How far who takes each event may be behind; a lane that has nothing to send says how far it is every two seconds.
BEHIND_SECONDS, BEHIND_SECONDS_OTHERS = {"kafka": 2, "clickhouse": 2, "state stage": 2}, 4
CHECK_RATE, CHECK_SECONDS = 1800, 4
TTL = "10m"
NO_LOSS = ("duplicate", "not_ip", "not_udp")  # the last two are what the sender's kernel says by itself
SECTIONS = {
    # Defaults but for room: the journal still has every record at the end, for the comparison.
    "journal": {"partitions": PARTITIONS, "segment_bytes": "64MiB", "segments_max": 256, "dedup_window": TTL,
                "dedup_ids_max": 1000000},
    "state": {"defaults": False},  # no windows: the other side has none. Rules with state run.
    "kafka": {"enabled": True, "partitions": PARTITIONS, "partitions_other": PARTITIONS, "replication": 1,
              "min_isr": 1},
    "clickhouse": {"enabled": True},
}
TOPICS = {"click": "clicks", "platform": "platform", "alerts": "alerts", "dead": "dead", "positions": "positions",
          "late": "late", "aggregates": "window."}
FLINK = {
    "Flink, one slot, checkpoints each second": dict(par=1, exactly_once=1000),
    "Flink, a slot a core, checkpoints each second": dict(par=os.cpu_count(), exactly_once=1000),
    "Flink, a slot a core, checkpoints each 10 s": dict(par=os.cpu_count(), exactly_once=10000),
}
CHECKSUM = "sum(cityHash64(event_id, user_id, ts, page, referrer, country, device))"


class Events:
    """Clicks for SECONDS of a rate, as lines and as datagrams; of how many ids; what must become of each."""

    def __init__(self, rig, name, rate, seconds):
        self.rig, self.name, self.seconds = rig, name, seconds
        self.rate = rate // PER_DATAGRAM * PER_DATAGRAM
        self.count = self.rate * seconds
        self.lines, self.blast = rig.path(name + ".lines"), rig.path(name + ".blast")
        rig.gen_run(name, timeout=600, file=self.lines, count=self.count, seed=7, mix="click=1", ts_rate=self.rate,
                    start_ts=now_ms(), dup_permille=DUP_PERMILLE, disorder_ms=50)
        with open(rig.path(name + ".truth"), "rb") as f:
            self.distinct = sum(line.split()[2] == b"accepted" for line in f)
        lines_pack(self.lines, self.blast, PER_DATAGRAM)

    def discard(self):
        for end in ("lines", "blast", "truth", "clock"):
            os.unlink(self.rig.path(f"{self.name}.{end}"))


class Cost(threading.Thread):
    """CPU seconds from now on, by process and by the threads of one of them, also those that end meanwhile."""

    def __init__(self, rig, name, pid):
        super().__init__(daemon=True)
        self.pids = {name: pid, "Kafka": rig.kafka.pid(1), "ClickHouse": rig.clickhouse.pid()}
        self.who, self.before, self.spent, self.idle = name, self.now(), {}, None
        self.threads_before, self.ended = threads_cpu(pid), threading.Event()
        self.threads = +self.threads_before
        self.start()

    def run(self):
        while not self.ended.wait(LOOK_SECONDS):
            self.threads |= threads_cpu(self.pids[self.who])

    def now(self):
        return {**{name: cpu_seconds(pid) for name, pid in self.pids.items()}, **machine_seconds()}

    def idle_note(self):
        """The share of the cores that was idle until now."""
        machine = self.now()
        idle, busy = (machine[k] - self.before[k] for k in ("idle", "busy"))
        self.idle = idle / max(idle + busy, 1e-9)

    def end(self, **known):
        """known: seconds of processes that have ended."""
        self.ended.set()
        self.join()
        spent = {name: s - self.before[name] for name, s in self.now().items()}
        busy, _ = spent.pop("busy"), spent.pop("idle")
        self.spent = {**spent, **known}
        self.spent["others"] = max(0.0, busy - sum(self.spent.values()))
        self.threads = (self.threads | threads_cpu(self.pids[self.who])) - self.threads_before

    def threads_text(self, events):
        """Microseconds an event; what is below a hundredth of all is left out."""
        most = [(name, s) for name, s in self.threads.most_common() if s > sum(self.threads.values()) / 100]
        return ", ".join(f"{name} {s / events * 1e6:.2f}" for name, s in most)


class Result:
    """One side: `rate` events a second, what they cost, what was in the way."""

    def __init__(self, name, rate, events, cost, limiter):
        self.name, self.rate, self.events, self.cost, self.limiter = name, rate, events, cost, limiter

    def us(self, *names):
        return sum(self.cost.spent.get(n, 0) for n in names or self.cost.spent) / self.events * 1e6

    @property
    def whole(self):
        """us of CPU an event of everything that the path needs on the receiving machine."""
        return self.us(self.cost.who, "Kafka", "ClickHouse", "softirq")


def far(who, lag, rate):
    return lag > BEHIND_SECONDS.get(who, BEHIND_SECONDS_OTHERS) * rate


class Watch(threading.Thread):
    """Looks at sluiced while it is sent to."""

    def __init__(self, daemon):
        super().__init__(daemon=True)
        self.sluiced, self.looks, self.stopped, self.began = daemon, [], threading.Event(), time.monotonic()

    def run(self):
        while not self.stopped.wait(LOOK_SECONDS):
            self.look()

    def look(self):
        status, ports = self.sluiced.ctl("status"), self.sluiced.ctl("ports")
        windows = self.sluiced.ctl("windows")
        if status and ports and windows:
            lag = {s["sink"]: s["lag_events"] for s in status["sinks"]}
            lag["state stage"] = sum(p["behind"] for p in windows["partitions"])
            lost = {d["reason"]: d["count"] for d in status.get("drops", []) if d["reason"] not in NO_LOSS}
            lost["kernel_drops"] = sum(p.get("kernel_drops") or 0 for p in ports["ports"])
            self.looks.append({"at": time.monotonic() - self.began, "lag": lag, "events": status["events"],
                               "lost": {k: n for k, n in lost.items() if n},
                               "busy": max(status["workers"]["busy_percent"])})

    def end(self):
        self.stopped.set()
        self.join()
        self.look()
        if not self.looks:
            sys.exit(self.sluiced.log_tail())

    def grows(self, who):
        """How much of what comes is added to the lag: from the middle third of the time to the last one. 0 if there
        are too few looks to say."""
        total = self.looks[-1]["at"]
        thirds = [[k["lag"].get(who, 0) for k in self.looks if total * n < 3 * k["at"] <= total * (n + 1)]
                  for n in (1, 2)]
        if min(map(len, thirds)) < 5:
            return 0.0
        middle, last = (sum(lags) / len(lags) for lags in thirds)
        return (last - middle) / (total / 3)

    def first_full(self, rate):
        """What was lost, or far behind, before anything else was."""
        for k in self.looks:
            full = list(k["lost"]) + [f"{who}'s lag" for who, n in k["lag"].items() if far(who, n, rate)]
            if full:
                return f"first, {k['at']:.1f} s after the start: {', '.join(full)}"
        return "nothing was full"


class Trial:
    """sluiced, new, under one rate."""

    number = 0

    def __init__(self, rig, sender, events, overrides):
        Trial.number += 1
        self.rig, self.sender, self.events, self.faults, self.result = rig, sender, events, [], None
        self.name = name = f"s{Trial.number}"
        self.daemon = d = Daemon(rig, name, [], workers=1, sinks=False)
        for section, body in SECTIONS.items():
            d.config.setdefault(section, {}).update(body)
        d.config["kafka"].update({f"topic_{k}": f"{name}.{t}" for k, t in TOPICS.items()}, brokers=rig.kafka.brokers)
        d.config["clickhouse"].update({"url": rig.clickhouse.url, "database": name})
        for section, key, value in overrides:
            d.config.setdefault(section, {})[key] = value
        d.config["ports"] = sender.af_packet(int(d.config["worker"]["count"]))
        d.config["listeners"] = [{"name": "in", "udp_port": UDP_PORT, "format": "ndjson"}]
        if not d.start() or not wait_until(self.connected, 60, "the sinks"):
            sys.exit(d.log_tail())

    def connected(self):
        sinks = (self.daemon.ctl("sinks") or {}).get("sinks", [])
        return sinks and all(s["state"] == "running" for s in sinks)

    def delivered(self):
        done = collections.Counter()
        for s in self.daemon.ctl("sinks")["sinks"]:
            done[s["sink"]] += s["events"] + s["suppressed"]
        return all(done[sink] == self.events.distinct for sink in ("kafka", "clickhouse"))

    def run(self):
        cost, watch = Cost(self.rig, "sluiced", self.daemon.child.pid), Watch(self.daemon)
        watch.start()
        sent = blast(self.rig, self.sender, self.events.blast, UDP_PORT, self.events.rate // PER_DATAGRAM,
                     self.events.count // PER_DATAGRAM)
        cost.idle_note()
        watch.end()
        self.judge(sent, watch)
        self.look_for_loss(watch)
        if not self.faults and not wait_until(self.delivered, 120, "all in both sinks", step=0.2):
            self.faults.append("not all is in both sinks two minutes later")
        cost.end(sender=sent["cpu"])
        limiter = "; ".join([*self.faults, watch.first_full(self.events.rate), f"{cost.idle:.0%} of the cores idle",
                             f"busiest worker {max(k['busy'] for k in watch.looks):.0f} %"])
        self.result = Result("sluice", self.events.rate, self.events.count, cost, limiter)
        say(f"{self.events.rate:>8,} events/s: {'NOT held' if self.faults else 'held'}: {limiter}")
        say(f"         sluiced by threads, us an event: {cost.threads_text(self.events.count)}")

    def judge(self, sent, watch):
        rate, end = self.events.rate, watch.looks[-1]
        if sent["late"] > LATE_SECONDS or sent["seconds"] > 1.02 * self.events.seconds:
            self.faults.append(f"the sender was up to {sent['late']:.2f} s late and took {sent['seconds']:.2f} s")
        for who, n in end["lag"].items():
            grows = watch.grows(who) / rate if who in BEHIND_SECONDS else 0
            if far(who, n, rate):
                self.faults.append(f"{who} {n / rate:.1f} s behind at the end of the sending")
            elif grows > GROWTH and n > rate / 2:  # below it is the time between two commits
                self.faults.append(f"{who} falls behind by {grows:.0%} of the rate")

    def look_for_loss(self, watch):
        """What is on its way gets time to arrive."""
        wait_until(lambda: self.daemon.counter("journaled") >= self.events.distinct, 5, "all journaled")
        watch.look()
        end, want = watch.looks[-1], {"events": self.events.count, "journaled": self.events.distinct,
                                      "duplicates": self.events.count - self.events.distinct}
        differ = [f"{k} {end['events'][k]} of {n}" for k, n in want.items() if end["events"][k] != n]
        if differ or end["lost"]:
            self.faults.append(f"lost: {', '.join(differ)}, by name {end['lost'] or 'nothing'}")

    def verify(self):
        """By the sinks' own words: all of it, once."""
        self.daemon.expect_no_kernel_drops()
        self.daemon.expect_balanced(f"{self.name}")
        self.daemon.stop_well(self.name, seconds=120)
        self.rig.verify(self.daemon, f"{self.name} at {self.events.rate}/s", truth=self.events.name + ".truth")
        return delivery(self.rig, self.events, f"{self.name}.{TOPICS['click']}", f"{self.name}.clicks_raw")

    def close(self):
        """Nothing of it goes on beside what comes next. An empty table like its own is left for the others."""
        if self.daemon.alive():
            self.daemon.kill()
        query = self.rig.clickhouse.query
        query("CREATE DATABASE IF NOT EXISTS peer")
        query(f"CREATE TABLE IF NOT EXISTS peer.clicks_raw AS {self.name}.clicks_raw")
        query(f"DROP DATABASE {self.name} SYNC")
        shutil.rmtree(self.daemon.data, ignore_errors=True)
        os.sync()


def delivery(rig, events, topic, table):
    """Messages and rows are as many as there are ids, all different; returns the checksum of the rows."""
    ids, messages = set(), 0
    for line in topic_lines(rig.kafka.brokers, topic):
        ids.add(line.split(b'"event_id":"', 1)[1][:36])
        messages += 1
    rows, distinct, checksum = rig.clickhouse.query(
        f"SELECT count(), uniqExact(event_id), {CHECKSUM} FROM {table}").split()
    n = events.distinct
    rig.expect(messages == len(ids) == int(rows) == int(distinct) == n, f"{n} ids: {topic} has {messages} messages of "
               f"{len(ids)} ids, {table} {rows} rows of {distinct} ids, checksum {checksum}")
    return checksum


class Search:
    """For the highest rate that is held; keeps its events."""

    def __init__(self, rig, sender, seconds, overrides):
        self.rig, self.sender, self.seconds, self.overrides = rig, sender, seconds, overrides
        self.events, self.checksum = None, None

    def held(self, rate):
        """The result at a rate, and whether it was held: once is enough."""
        for _ in range(TRIES):
            events = Events(self.rig, f"rate{rate}", rate, self.seconds)
            trial = Trial(self.rig, self.sender, events, self.overrides)
            trial.run()
            if not trial.faults:
                checksum = trial.verify()
                if self.events:
                    self.events.discard()
                self.events, self.checksum = events, checksum
            trial.close()
            if not trial.faults:
                return trial.result, True
            events.discard()
        return trial.result, False

    def run(self, rate):
        """(the highest that was held, the lowest above it that was not)"""
        low = high = None
        while low is None or high is None or high.rate > TOLERANCE * low.rate:
            result, held = self.held(rate)
            low, high = (result, high) if held else (low, result)
            if low is None and rate < 1000:
                sys.exit("nothing is held")
            rate = 2 * rate if high is None else rate // 2 if low is None else round((low.rate * high.rate) ** 0.5)
        return low, high


def flink_run(rig, class_path, number, name, arguments, events, rows):
    """One job over the topic `events`; its result, and the checksum of its rows."""
    out = f"f{number}"
    flink.topics(class_path, rig.kafka.brokers, **{out: PARTITIONS})
    rig.clickhouse.query(f"CREATE TABLE peer.{out} AS peer.clicks_raw")
    words = {"brokers": rig.kafka.brokers, "in": "events", "out": out, "events": events.count, "ttl": 600000,
             "clickhouse": rig.clickhouse.url, "table": "peer." + out, "rows": rows, "age": 500,
             "dir": rig.path(out), **arguments}
    with open(rig.path(out + ".log"), "wb") as log:
        job = subprocess.Popen(flink.java(class_path, "Deliver", "2g", *[f"{k}={v}" for k, v in words.items()]),
                               stdout=subprocess.PIPE, stderr=log, text=True)
    rig.children.append(job)
    cost = said = None
    for line in job.stdout:
        if line == "warm\n":
            cost = Cost(rig, "Flink", job.pid)
        elif line == "read\n":
            cost.idle_note()
            cost.end()
        elif line.startswith("events="):
            said = {k: int(v) for k, v in (pair.split("=") for pair in line.split())}
    if job.wait() or not said:
        sys.exit(f"{name}: {rig.text(out + '.log', 3000)}")
    took = said["wall_ns"] / 1e9
    busiest, most = cost.threads.most_common(1)[0]
    limiter = f"{cost.idle:.0%} of the cores idle; busiest thread {busiest}, {most / took:.0%} of a core"
    result = Result(name, said["events"] / took, said["events"], cost, limiter)
    say(f"{name}: {result.rate:,.0f} events/s over {took:.1f} s: {limiter}")
    say(f"         the JVM by threads, us an event: {cost.threads_text(said['events'])}")
    checksum = delivery(rig, events, out, "peer." + out)
    rig.clickhouse.query(f"DROP TABLE peer.{out} SYNC")
    shutil.rmtree(rig.path(out), ignore_errors=True)
    os.sync()
    return result, checksum


def report(ours, theirs, above, check):
    columns = ("own", "Kafka", "ClickHouse", "softirq", "sender", "others")
    print(f"\n{'':46} {'events/s':>10}  us of CPU an event: " + "".join(f"{c:>11}" for c in columns))
    for r in [ours, *theirs]:
        spent = [r.us(r.cost.who if c == "own" else c) for c in columns]
        print(f"{r.name:46} {r.rate:10,.0f} {'':21}" + "".join(f"{us:11.2f}" for us in spent))
    for r in [ours, *theirs]:
        print(f"limit, {r.name}: {r.limiter if r is not ours or not above else f'at {above.rate:,}/s {above.limiter}'}")
    if check:
        print("a check of the comparison, no measurement")
        return
    for r in theirs:
        print(f"sluice / {r.name}: {ours.rate / r.rate:.1f} times the events/s; events per CPU-second: own process "
              f"{r.us('Flink') / ours.us('sluiced'):.1f} times, with broker, engine and the kernel's receiving "
              f"{r.whole / ours.whole:.1f} times")


def arguments():
    numbers = [int(w) for w in sys.argv[2:] if w.isdigit()]
    check, changes = "check" in sys.argv[2:], [w for w in sys.argv[2:] if "=" in w]
    overrides = [(*w.split("=", 1)[0].split(".", 1), w.split("=", 1)[1]) for w in changes]
    if len(sys.argv) < 2 or len(numbers) > 2 or len(numbers) + check + len(changes) != len(sys.argv) - 2:
        sys.exit(__doc__)
    seconds, rate = (numbers + [20, 20000][len(numbers):]) if not check else (CHECK_SECONDS, CHECK_RATE)
    return sys.argv[1], seconds, rate, check, overrides


def main():
    build, seconds, rate, check, overrides = arguments()
    reason = flink.missing()
    if reason:
        skip(reason)
    os.environ.setdefault("KAFKA_HEAP", "1g")
    os.environ.setdefault("KAFKA_JOPTS", "-XX:+UseG1GC")  # as a broker is run that lasts
    with Rig(build, kafka=1, clickhouse=True, root=True) as rig:
        sender, class_path, theirs = Sender(rig), flink.build(rig.dir), []
        search = Search(rig, sender, seconds, overrides)
        if check:
            ours, above = search.held(rate)[0], None
            if not rig.expect(search.events, f"{rate} events/s are held"):
                sys.exit(1)
        else:
            ours, above = search.run(rate)
        flink.topics(class_path, rig.kafka.brokers, events=PARTITIONS)
        topic_fill(rig.kafka.brokers, "events", search.events.lines)
        for number, (name, words) in enumerate(FLINK.items()):
            result, checksum = flink_run(rig, class_path, number, name, words, search.events, 500 if check else 50000)
            rig.expect(checksum == search.checksum, f"{name}: rows as sluice's")
            theirs.append(result)
        report(ours, theirs, above, check)
    rig.done()


main()
