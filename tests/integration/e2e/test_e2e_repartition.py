"""Another number of partitions under real sinks, two workers: 6 -> 4 with a kill -9 at every step of the change, then
4 -> 7 with ClickHouse dead before, during and after it. Windows, hopping windows and sessions are open across both
changes, late events revise windows across them, and events from before each are sent again behind it.

Shown: every event id once in Kafka (read committed) and in ClickHouse; rows of all windows in Kafka (the last revision)
and in ClickHouse (sums of differences) are those that a count in this file gives for all events; revisions of a window
are 0, 1, 2, ...; no address twice; nothing of the epoch before stays behind when all is delivered."""
import collections
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import uuid

from daemon import UDP_PORT, Daemon, file_ports
from pcap_file import pcap_write
from rig import Rig, say, wait_until
from windows import messages

# Event time runs a hundred times as fast as the clock could: what a slow machine adds between two feeds is little
# beside the windows' sizes.
START = int(time.time() * 1000) // 200000 * 200000 - 24 * 3600_000
STEP_MS, USERS, PAGES = 200, 80, 9
# Two workers read a file each, and one may be through before the other begins: no feed is as long in event time as
# OUT_OF_ORDER. Late are views that come behind that, within the lateness whatever the workers do.
FEED_EVENTS, DISORDER, OUT_OF_ORDER, LATE_BY = 7000, 50_000, 1700_000, 2000_000
CHECKPOINT_EVERY = "300ms"
GAP, SIZE, HOP, SLIDE = 60_000, 200_000, 400_000, 100_000
WINDOWS = [
    {"name": "pages", "size": f"{SIZE}ms", "by": "page", "types": "page_view", "lateness": "2100s",
     "aggregates": "count"},
    {"name": "load", "kind": "hopping", "size": f"{HOP}ms", "slide": f"{SLIDE}ms", "by": "page", "types": "click",
     "aggregates": "count, distinct(user_id)"},
    {"name": "visits", "kind": "session", "gap": f"{GAP}ms", "by": "user_id", "types": "click",
     "aggregates": "count, first(page), last(page)"},
]
# Steps of the change at which nothing of the old installation has been given up, and those behind it.
OLD_POINTS = ["state_checkpoint_written:2", "repartition_old_ended:1", "journal_segment_made:2", "repartition_ids:1",
              "journal_meta_renamed:1", "journal_meta_renamed:2", "journal_block_built:6", "checkpoint_renamed:9",
              "state_gathered:3", "repartition_built:1", "repartition_written:1", "repartition_synced:1"]
NEW_POINTS = ["repartition_renamed:1", *["repartition_out:1", "repartition_in:1"] * 4, "repartition_swapped:1",
              "repartition_done:1"]


def write_pcap(path, events):
    lines = [json.dumps(e) for e in events]
    pcap_write(path, [("\n".join(lines[i:i + 6]).encode(), UDP_PORT) for i in range(0, len(lines), 6)])


def event(rng, number, last_ms):
    """In order of time but for jitter within the bound; page views may be later, within their windows' lateness."""
    view = rng.random() < 0.4
    ts = last_ms - rng.randrange(DISORDER)
    if view and rng.random() < 0.05:
        ts -= LATE_BY
    body = {"event_id": str(uuid.UUID(int=(number + 1) << 64 | 0x8000_0000_0000_0001)),
            "user_id": f"u{rng.randrange(USERS)}", "ts": ts, "page": f"/p{rng.randrange(PAGES)}"}
    return dict(body, type="page_view") if view else body


class Feed:
    """All events, in the order in which they are sent."""

    def __init__(self, seed):
        self.random, self.sent, self.last_ms, self.looked = random.Random(seed), [], START, time.monotonic()
        self.cuts = []  # event times at which the number of partitions changed

    def more(self, count):
        """Where nobody sends event time goes on by the clock: events that come then are not behind it."""
        assert count <= FEED_EVENTS
        events, now = [], time.monotonic()
        self.last_ms += int((now - self.looked) * 1000)
        self.looked = now
        for _ in range(count):
            self.last_ms += self.random.randrange(2 * STEP_MS)
            events.append(event(self.random, len(self.sent), self.last_ms))
            self.sent.append(events[-1])
        return events

    def again(self, count):
        return self.random.sample(self.sent, count) + self.sent[-count:]

    def beyond(self):
        """Events far ahead, in every partition: what was open is closed."""
        self.last_ms += 6000_000
        return self.more(400)


def reference(events, end_ms):
    """window -> {(start, end, key): values} of all that ends by end_ms."""
    pages, load, users = collections.Counter(), collections.defaultdict(set), collections.defaultdict(list)
    hops = collections.Counter()
    for number, e in enumerate(events):
        ts = e["ts"]
        if "type" in e:
            start = ts // SIZE * SIZE
            pages[(start, start + SIZE, e["page"])] += 1
            continue
        users[e["user_id"]].append((ts, number, e["page"]))
        start = ts // SLIDE * SLIDE
        while start > ts - HOP:
            hops[(start, start + HOP, e["page"])] += 1
            load[(start, start + HOP, e["page"])].add(e["user_id"])
            start -= SLIDE
    visits = {}
    for user, clicks in users.items():
        clicks.sort()
        group = []
        for click in clicks + [(1 << 60, 0, "")]:
            if group and click[0] > group[-1][0] + GAP:
                same_first = {c[2] for c in group if c[0] == group[0][0]}
                same_last = {c[2] for c in group if c[0] == group[-1][0]}
                visits[(group[0][0], group[-1][0] + GAP, user)] = (len(group), same_first, same_last)
                group = []
            group.append(click)
    everything = {"pages": pages, "load": {k: (n, len(load[k])) for k, n in hops.items()}, "visits": visits}
    return {w: {k: v for k, v in rows.items() if k[1] <= end_ms} for w, rows in everything.items()}


def change(rig, daemon, partitions, crash="", more=()):
    daemon.config["journal"]["partitions"] = partitions
    daemon.write_config()
    word = "=".join(["--repartition", *more])
    return subprocess.run([rig.program("sluiced"), "--config", rig.path(daemon.name + ".yaml"), word],
                          capture_output=True, text=True, timeout=180, check=False,
                          env=dict(os.environ, SLUICE_CRASH=crash))


def refusal(rig, daemon):
    done = subprocess.run([rig.program("sluiced"), "--config", rig.path(daemon.name + ".yaml")], capture_output=True,
                          text=True, timeout=60, check=False, env=dict(os.environ, SLUICE_CRASH=""))
    return done.stderr if done.returncode == 1 else f"no refusal: {done.returncode}"


def left_over(daemon):
    return [name for name in os.listdir(daemon.data) if re.search("before|next|repartition", name)]


def before_gone(daemon):
    return wait_until(lambda: not os.path.exists(os.path.join(daemon.data, "before")), 120, "the epoch before goes")


def run(rig, daemon, name, events, kill=False, drain=True, points=()):
    """Feeds events through two ports, in turn, until all have been taken; then stops in order."""
    files = [rig.path(f"{name}{half}.pcap") for half in range(2)]
    for half, path in enumerate(files):
        write_pcap(path, [e for i, e in enumerate(events) if i // 6 % 2 == half])
    daemon.config["ports"] = file_ports(*files)
    for point in points:
        daemon.start(crash=point, wait=0)
        rig.expect(daemon.wait_dead(120) == -signal.SIGKILL, f"{name}: killed at {point}")
    if not rig.expect(daemon.start(), f"{name}: up"):
        print(daemon.log_tail(4000), flush=True)
        return
    if kill:
        wait_until(lambda: daemon.counter("journaled") > len(events) // 3, 30, "a third of the events", step=0.005)
        daemon.kill()
        rig.expect(daemon.start(), f"{name}: up again after kill -9")
    rig.expect(daemon.wait_input_ended() and all(w["frames"] for w in daemon.ctl("stats")["workers"]),
               f"{name}: all input taken, by both workers")
    if drain:
        rig.expect(daemon.drain(), f"{name}: drained")
        daemon.expect_balanced(name)


def kill_everywhere(rig, daemon, partitions):
    """The change, killed at each of its steps; between them the old installation is whole, or a start is refused."""
    old = daemon.config["journal"]["partitions"]
    for point in OLD_POINTS:
        done = change(rig, daemon, partitions, point)
        marker = os.path.exists(os.path.join(daemon.data, "repartition"))
        rig.expect(done.returncode == -signal.SIGKILL and not marker, f"killed at {point}: nothing is given up "
                   f"({done.returncode} {done.stderr[-300:] if done.returncode != -signal.SIGKILL else ''})")
        said = refusal(rig, daemon)
        rig.expect("sluiced --repartition" in said and f"made with {old} partitions" in said,
                   f"the old installation is in its place ({said.strip()[-160:]})")
    daemon.config["journal"]["partitions"] = old
    rig.expect(daemon.start(), "the old installation still runs")
    rig.expect(daemon.wait_input_ended() and daemon.drain(), "and drains")
    daemon.stop_well("the old installation")
    for point in NEW_POINTS:
        done = change(rig, daemon, partitions, point)
        marker = os.path.exists(os.path.join(daemon.data, "repartition"))
        rig.expect(done.returncode == -signal.SIGKILL and marker == (point != "repartition_done:1"),
                   f"killed at {point} ({done.returncode}{' ' + done.stderr[-300:] if done.returncode + 9 else ''})")
        if marker:
            said = refusal(rig, daemon)
            rig.expect("run `sluiced --repartition`" in said, f"a start is refused ({said.strip()[-120:]})")
            other = change(rig, daemon, partitions + 4)
            rig.expect(other.returncode == 1 and f"set journal.partitions to {partitions}" in other.stderr,
                       "so is another number")
    done = change(rig, daemon, partitions)
    rig.expect(done.returncode == 0 and "nothing to do" in done.stdout, f"it is done: {done.stdout}{done.stderr}")


# ---- what came out ----

def check_ids(rig, daemon, feed):
    want = {e["event_id"] for e in feed.sent}
    kafka = collections.Counter()
    for topic in (".clicks", ".platform"):
        for _, _, value in messages(rig, daemon.name + topic):
            kafka[json.loads(value)["event_id"]] += 1
    rig.expect(set(kafka) == want and max(kafka.values()) == 1,
               f"Kafka: {len(want)} events sent, {len(kafka)} there, {sum(n > 1 for n in kafka.values())} twice, "
               f"{len(want - set(kafka))} missing")
    rows = rig.clickhouse.query(
        f"SELECT toString(event_id), count() FROM (SELECT event_id FROM {daemon.name}.clicks_raw "
        f"UNION ALL SELECT event_id FROM {daemon.name}.events_raw) GROUP BY 1").split("\n")
    have = {r.split("\t")[0]: int(r.split("\t")[1]) for r in rows if r}
    rig.expect(set(have) == want and max(have.values()) == 1,
               f"ClickHouse: {len(have)} events, {sum(n > 1 for n in have.values())} twice, "
               f"{len(want - set(have))} missing")


def key_of(row):
    return (row["start_ms"], row["end_ms"], row["user_id"] if row["window"] == "visits" else row["page"])


def same(window, want, have):
    """A session's first and last page: any of those with that time."""
    if window != "visits":
        return want == have
    return want[0] == have[0] and have[1] in want[1] and have[2] in want[2]


def compare(rig, what, window, want, have):
    differ = [(k, want[k], have[k]) for k in want if k in have and not same(window, want[k], have[k])]
    missing, unknown = want.keys() - have.keys(), have.keys() - want.keys()
    rig.expect(not differ and not missing and not unknown and want,
               f"{what}: {len(have)} of {len(want)} rows; missing {sorted(missing)[:3]}, unknown "
               f"{sorted(unknown)[:3]}, differing {differ[:3]}")


def check_kafka_rows(rig, daemon, want, end_ms):
    for window, rows in want.items():
        have, next_revision, wrong, addresses = {}, collections.Counter(), [], collections.Counter()
        for headers, _, value in messages(rig, f"{daemon.name}.window.{window}"):
            row = json.loads(value)
            addresses[headers["sluice-address"]] += 1
            if row["end_ms"] > end_ms:
                continue
            key = key_of(row)
            wrong += [row] if row["revision"] != next_revision[key] else []
            next_revision[key] += 1
            have[key] = {"pages": lambda r: r["count"], "load": lambda r: (r["count"], r["distinct_user_id"]),
                         "visits": lambda r: (r["count"], r["first_page"], r["last_page"])}[window](row)
        compare(rig, f"Kafka, {window}", window, rows, have)
        revised = sum(n > 1 for n in next_revision.values())
        rig.expect(not wrong and max(addresses.values()) == 1 and (revised or window != "pages"),
                   f"Kafka, {window}: revisions are 0, 1, 2, ..., {revised} rows revised, "
                   f"{len({a.split('/')[1] for a in addresses})} epochs {wrong[:2] or ''}")


def check_clickhouse_rows(rig, daemon, want, end_ms):
    for window, rows in want.items():
        table = f"{daemon.name}.{window}" + ("" if window == "visits" else "_agg")
        key = "user_id" if window == "visits" else "page"
        value = {"pages": "toString(sum(count))", "load": "toString(sum(count))",
                 "visits": "concat(toString(sum(count)), ' ', any(first_page), ' ', any(last_page))"}[window]
        have, lines = {}, rig.clickhouse.query(
            "SELECT toUnixTimestamp64Milli(window_start) AS a, toUnixTimestamp64Milli(window_end) AS b, "
            f"{key}, {value}, count(), uniqExact(_revision) FROM {table} WHERE b <= {end_ms} GROUP BY a, b, {key}"
        ).split("\n")
        revisions = 0
        for line in filter(None, lines):
            a, b, name, text, count, unique = line.split("\t")
            revisions += count != unique
            words = text.split(" ")
            have[(int(a), int(b), name)] = (int(words[0]), *words[1:]) if window == "visits" else int(words[0])
        if window == "load":
            rows = {k: v[0] for k, v in rows.items()}
        compare(rig, f"ClickHouse, {window}", window, rows, have)
        twice = rig.clickhouse.query(
            f"SELECT count() - uniqExact(_node, _epoch, _partition, _offset) FROM {table}").strip()
        rig.expect(twice == "0" and not revisions, f"ClickHouse, {window}: no address twice, no revision twice "
                   f"({twice}, {revisions})")


def check_all(rig, daemon, feed, end_ms):
    want = reference(feed.sent, end_ms)
    for cut in feed.cuts:
        open_then = {w: sum(k[0] < cut < k[1] for k in rows) for w, rows in want.items()}
        rig.expect(min(open_then.values()) > 0, f"windows and sessions that were open over a change: {open_then}")
    check_ids(rig, daemon, feed)
    check_kafka_rows(rig, daemon, want, end_ms)
    check_clickhouse_rows(rig, daemon, want, end_ms)
    late = len(messages(rig, daemon.name + ".late"))
    rig.expect(not late, f"{late} events came late: none was made so by a change")


# ---- the two changes ----

def first_change(rig, daemon, feed):
    """6 -> 4 with all sinks there."""
    for name in ("a0", "a"):
        run(rig, daemon, name, feed.more(FEED_EVENTS))
        daemon.stop_well(name)
    feed.cuts.append(feed.last_ms)
    kill_everywhere(rig, daemon, 4)
    run(rig, daemon, "b", feed.again(1500) + feed.more(5000), kill=True)
    rig.expect(before_gone(daemon), "the epoch before is delivered, and gone")
    duplicates = (daemon.ctl("status") or {}).get("events", {}).get("duplicates", 0)
    rig.expect(duplicates >= 3000, f"{duplicates} duplicates of events before the change are known")
    daemon.stop_well("b")


def sinks_of(daemon):
    return {s["sink"]: s for s in daemon.ctl("status")["sinks"]}


def dead_sink(rig, daemon, feed):
    """4 -> 7 while ClickHouse is dead; it comes back later."""
    rig.clickhouse.kill()
    run(rig, daemon, "c", feed.again(500) + feed.more(4000), drain=False)
    rig.expect(wait_until(lambda: sinks_of(daemon)["kafka"]["lag_events"] == 0, 120, "Kafka"), "c: Kafka has it")
    daemon.kill()
    feed.cuts.append(feed.last_ms)
    done = change(rig, daemon, 7)
    rig.expect(done.returncode == 0 and "has 7 partitions instead of 4" in done.stdout,
               f"changed with a dead sink: {done.stdout}{done.stderr[-300:] if done.returncode else ''}")
    run(rig, daemon, "d", feed.again(1500) + feed.more(3000), kill=True, drain=False)
    sinks = {}

    def kafka_goes_on():  # in one look: a tick may come behind it
        sinks.update(sinks_of(daemon))
        return sinks["kafka-before"]["state"] == "delivered" and sinks["kafka"]["lag_events"] == 0

    rig.expect(wait_until(kafka_goes_on, 120, "Kafka") and
               sinks["clickhouse-before"]["lag_events"] > 0 and sinks["clickhouse"]["state"] == "waiting",
               f"Kafka goes on, ClickHouse has its old log first: { {n: s['state'] for n, s in sinks.items()} }")
    daemon.ctl("stop", "--now")
    rig.expect(daemon.wait_dead(60) == 0, "d: stopped with ClickHouse dead")
    done = change(rig, daemon, 2)
    rig.expect(done.returncode == 1 and "before is still there" in done.stderr,
               f"no further change: {done.stderr[-200:]}")
    daemon.config["journal"]["partitions"] = 7
    rig.clickhouse.start()
    run(rig, daemon, "e", feed.again(500) + feed.more(2000))
    rig.expect(before_gone(daemon), "the epoch before is delivered, and gone")
    daemon.stop_well("e")
    end_ms = feed.last_ms - SIZE
    run(rig, daemon, "f", feed.beyond())
    daemon.stop_well("f")
    feeder = os.path.join(rig.build, "tests", "integration", "state", "state_feeder")
    done = subprocess.run([feeder, "check", daemon.data], capture_output=True, text=True, timeout=240, check=False)
    rig.expect(done.returncode == 0 and "complete=1" in done.stdout and "damaged=0" in done.stdout,
               f"the new epoch's output log = offline replay: {done.stdout.strip()} {done.stderr.strip()[-300:]}")
    return end_ms


def far_apart(rig, daemon, feed):
    """One partition is hours ahead: refused, but when it is meant. 7 -> 5."""
    feed.last_ms += 4 * 3600_000
    daemon.config["state"]["checkpoint_every"] = "1h"  # for a checkpoint the merge would look at itself anew
    since = time.monotonic()
    run(rig, daemon, "g", [e.update(user_id="u1") or e for e in feed.more(200)])
    seen = {}

    def holder_named():  # the merge reads a partition's step from its output log: a moment after it is shown there
        told = daemon.ctl("windows")
        seen["of"] = steps = {f"partition {p['partition']}": p["step"] for p in told["partitions"]}
        seen["named"] = told["merge"]["held_back_by"]
        return steps.get(seen["named"]) == min(steps.values()) < max(steps.values())

    named = wait_until(holder_named, 10, "the merge") or time.monotonic() - since > 55  # then ticks have moved them
    rig.expect(named, f"who holds the merge back is named: {seen}")
    daemon.stop_well("g")
    daemon.config["state"]["checkpoint_every"] = CHECKPOINT_EVERY
    done = change(rig, daemon, 5)
    if time.monotonic() - since > 55:
        say("too slow a machine: ticks have brought the partitions together")
        return
    rig.expect(done.returncode == 1 and "ms apart" in done.stderr and "--repartition=raise" in done.stderr,
               f"watermarks far apart are refused: {done.stderr[-400:]}")
    done = change(rig, daemon, 5, more=["raise"])
    rig.expect(done.returncode == 0 and "has 5 partitions instead of 7" in done.stdout,
               f"but when it is meant: {done.stdout}{done.stderr[-300:] if done.returncode else ''}")
    run(rig, daemon, "h", feed.again(200) + feed.more(400), points=["epoch_before_delivered:1", "epoch_before_moved:1"])
    rig.expect(wait_until(lambda: not left_over(daemon), 120, "the epoch before goes"), "nothing is left over")
    daemon.stop_well("h")
    check_ids(rig, daemon, feed)


with Rig(sys.argv[1], kafka=1, clickhouse=True) as rig:
    feed = Feed(rig.seed)
    daemon = Daemon(rig, "rep", [], journal={"partitions": 6},
                    time={"out_of_orderness": f"{OUT_OF_ORDER}ms", "tick": "1m", "past_max": 0},
                    kafka={"topic_late": "rep.late", "topic_aggregates": "rep.window."},
                    state={"enabled": True, "step": "50s", "checkpoint_every": CHECKPOINT_EVERY, "checkpoints_kept": 2,
                           "segment_bytes": "4MiB", "segments_max": 64})
    daemon.config["windows"] = WINDOWS
    first_change(rig, daemon, feed)
    end_ms = dead_sink(rig, daemon, feed)
    rig.expect(not left_over(daemon), f"nothing is left over {left_over(daemon)}")
    stopped = re.findall(r".*(?:STATE STOPPED|MERGE STOPPED|REPLAY DIFFERS).*", daemon.rig.text(daemon.log))
    rig.expect(not stopped, f"no replay differed {stopped[:2] or ''}")
    check_all(rig, daemon, feed, end_ms)
    far_apart(rig, daemon, feed)
    say(f"{len(feed.sent)} events")
rig.done()
