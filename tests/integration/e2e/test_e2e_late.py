"""Which event is too late for which window, at four partitions and two workers: two capture files with disorder and
events far behind, against a model in this file that walks through the journal record by record and knows one thing of
sluiced: a partition's watermark is its highest event time so far less the out-of-orderness.

Shown, for tumbling windows without and with allowed lateness, hopping windows and sessions: the late events of an
offline replay are the model's, one by one; counts of every window and group are those of the events that the model lets
into it; the running stage counted as many as late, as taken, and as late for some of their windows. A start without
checkpoints replays all of it, says in the log how far it is, and comes to the same. No sinks."""
import collections
import json
import re
import shutil
import subprocess
import sys

from daemon import Daemon, file_ports, yaml_of
from rig import Rig, wait_until

EVENTS = 24000  # of each file
BOUND_MS, STEP_MS, PARTITIONS = 2000, 1000, 4
VIEWS = ("click", "page_view")
WINDOWS = [
    {"name": "strict", "kind": "tumbling", "size": "10s", "by": "user_id, page", "types": ", ".join(VIEWS)},
    {"name": "allowed", "kind": "tumbling", "size": "5s", "by": "page", "types": ", ".join(VIEWS), "lateness": "15s"},
    {"name": "hops", "kind": "hopping", "size": "20s", "slide": "5s", "by": "page", "types": ", ".join(VIEWS),
     "where": "page != /home", "lateness": "4s"},
    {"name": "visits", "kind": "session", "gap": "4s", "by": "user_id", "types": ", ".join(VIEWS)},
]


def ms(text):
    return int(text.rstrip("s")) * 1000


def events_of(rig, daemon):
    """(partition, offset, watermark before it, event time, fields) of each event that a window could count, and the
    steps that the partitions have come to."""
    found, marks = [], [None] * PARTITIONS
    out = subprocess.run([rig.program("sluicectl"), "--json", "journal", "dump", "--dir", daemon.data + "/journal"],
                         capture_output=True, text=True, timeout=120, check=True).stdout
    for record in map(json.loads, out.splitlines()):
        p, at = record["partition"], record["event_time_ms"]
        if record["kind"] == "event":
            if record["type"] in VIEWS:
                found.append((p, record["offset"], marks[p], at, json.loads(record["payload"])))
            at = min(at, record["receive_time_ms"]) - BOUND_MS
        elif record["kind"] != "tick":
            continue
        marks[p] = at if marks[p] is None else max(at, marks[p])
    return found, [mark // STEP_MS * STEP_MS for mark in marks]


class Model:
    """late: (partition, offset). rows: (start, end, group) -> events. pairs: (event, window) that were too late while
    another window took the event. taken, revised: events."""

    def __init__(self, window, events):
        self.window, self.late, self.rows = window, set(), collections.Counter()
        self.pairs = self.taken = self.revised = 0
        self.group = [name.strip() for name in window["by"].split(",")]
        if window["kind"] == "session":
            self.sessions(events)
            return
        for event in events:
            if "where" not in window or event[4].get("page") not in (None, "/home"):
                self.tumble(*event)

    def tumble(self, partition, offset, mark, at, fields):
        size, lateness = ms(self.window["size"]), ms(self.window.get("lateness", "0s"))
        slide = ms(self.window.get("slide", self.window["size"]))
        ends = range(at // slide * slide + slide, at // slide * slide + size + 1, slide)
        good = [end for end in ends if mark is None or end + lateness > mark]
        if not good:
            self.late.add((partition, offset))
            return
        self.taken += 1
        self.pairs += len(ends) - len(good)
        self.revised += mark is not None and good[0] <= mark
        for end in good:
            self.rows[(end - size, end, tuple(fields.get(name) for name in self.group))] += 1

    def sessions(self, events):
        gap, users = ms(self.window["gap"]), collections.defaultdict(list)
        for partition, offset, mark, at, fields in events:
            if "user_id" not in fields:
                continue
            first, last, count, kept = at, at, 1, []
            for session in users[fields["user_id"]]:
                is_open = mark is None or session[1] + gap > mark
                if is_open and session[0] <= at + gap and at <= session[1] + gap:
                    first, last, count = min(first, session[0]), max(last, session[1]), count + session[2]
                else:
                    kept.append(session)
            if mark is not None and last + gap <= mark:
                self.late.add((partition, offset))
                continue
            self.taken += 1
            users[fields["user_id"]] = kept + [(first, last, count)]
        for user, sessions in users.items():
            for first, last, count in sessions:
                self.rows[(first, last + gap, (user,))] += count

    def settled(self, end_ms):
        """Rows of windows that are closed by then, and take nothing more."""
        return {k: n for k, n in self.rows.items() if k[1] + ms(self.window.get("lateness", "0s")) <= end_ms}


def replay(rig, daemon, config, rows):
    out = rig.path("rows.jsonl")
    subprocess.run([rig.program("sluicectl"), "--json", "replay", "--dir", daemon.data, "--config", config, "--rows",
                    rows, "--out", out], capture_output=True, text=True, timeout=120, check=True)
    with open(out, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def check_window(rig, daemon, model, steps, live):
    name = model.window["name"]
    config = rig.path(name + ".yaml")
    with open(config, "w", encoding="utf-8") as f:
        f.write(yaml_of(dict(daemon.config, windows=[model.window])))
    late = [(row["partition"], row["offset"]) for row in replay(rig, daemon, config, "partial") if row.get("late")]
    rig.expect(set(late) == model.late and len(late) == len(model.late) and
               {p for p, _ in late} == set(range(PARTITIONS)),
               f"{name}: {len(late)} late events, the model has {len(model.late)}, different "
               f"{sorted(set(late) ^ model.late)[:3]}")
    have, end_ms = {}, min(steps)
    for row in replay(rig, daemon, config, "merged"):
        have[(row["start_ms"], row["end_ms"], tuple(row[g] for g in model.group))] = row["count"]
    want = model.settled(end_ms)
    differ = [(k, n, have.get(k)) for k, n in want.items() if have.get(k) != n]
    unknown = [k for k in have if k not in model.rows]
    rig.expect(want and not differ and not unknown,
               f"{name}: {len(want)} rows, {sum(want.values())} events in them, as the model's; different {differ[:3]} "
               f"{unknown[:3]}")
    told = (live["events"], live["late"], live["late_panes"])
    rig.expect(told == (model.taken, len(model.late), model.pairs),
               f"{name}: the running stage took {told[0]} events, {told[1]} were late, {told[2]} pairs beside")


def check_holder(rig, daemon):
    """The partition that holds all back is the one that has come least far, and the merge is as far as it is, once it
    has read what the partitions have written. Returns the answer."""
    seen = {}

    def agrees():
        seen["told"] = told = daemon.ctl("windows")
        seen["of"] = steps = {p["partition"]: p["step"] for p in told["partitions"]}
        seen["held"] = told["merge"]["held_back_by"]
        named = re.match(r"partition (\d+)$", seen["held"])
        return named and steps[int(named.group(1))] == min(steps.values()) == told["merge"]["up_to"]

    rig.expect(wait_until(agrees, 30, "the merge"), f"what holds back is named: {seen['held']}, of {seen['of']}")
    return seen["told"]


def check_recovery(rig, daemon, live):
    """Without checkpoints everything is replayed; the log says how far it is, and the numbers are the same again."""
    shutil.rmtree(daemon.data + "/state/checkpoints")
    before = len(rig.text(daemon.log))
    rig.expect(daemon.start() and daemon.wait_input_ended() and daemon.wait_quiet(), "started without checkpoints")
    told = daemon.ctl("windows")
    rig.expect({w["window"]: w["late"] for w in told["windows"]} == {n: w["late"] for n, w in live.items()} and
               not any(p["mismatches"] for p in told["partitions"]), "the replay comes to the same verdicts")
    daemon.stop_well("again")
    text = rig.text(daemon.log)[before:]
    for p in range(PARTITIONS):
        steps = [int(n) for n in re.findall(rf"recovering partition={p} percent=(\d+) .* left_seconds=\d", text)]
        ended = re.search(rf"recovered partition={p} .* seconds=", text)
        rig.expect(ended and steps == sorted(steps) and 1 <= len(steps) <= 3,
                   f"partition {p}: the log says how far the replay is: {steps}")


def main():
    with Rig(sys.argv[1]) as rig:
        for number in range(2):
            rig.gen_run(f"late{number}", pcap=rig.path(f"late{number}.pcap"), count=EVENTS, seed=rig.seed + number,
                        start_ts=1792000000000, ts_rate=200, mix="click=3,page_view=2,platform=1", users=60, pages=20,
                        events_per_datagram=4, disorder_ms=BOUND_MS + 1500, late=0.03, late_by=25000)
        daemon = Daemon(rig, "late", file_ports(rig.path("late0.pcap"), rig.path("late1.pcap")), sinks=False,
                        time={"past_max": "0", "out_of_orderness": f"{BOUND_MS}ms", "tick": "1m"},
                        state={"step": f"{STEP_MS}ms", "checkpoint_every": "200ms"}, rules={"dir": ""})
        daemon.config["windows"] = WINDOWS
        rig.expect(daemon.start() and daemon.wait_input_ended() and daemon.wait_quiet(), "both files are read")
        live = {w["window"]: w for w in check_holder(rig, daemon)["windows"]}
        daemon.stop_well("late")
        events, steps = events_of(rig, daemon)
        models = {w["name"]: Model(w, events) for w in WINDOWS}
        for name, model in models.items():
            check_window(rig, daemon, model, steps, live[name])
        rig.expect(models["allowed"].revised > 100 and models["hops"].revised > 100 and models["hops"].pairs > 100,
                   f"of {len(events)} events {models['allowed'].revised} revise a window, {models['hops'].revised} a "
                   f"hopping one; {models['hops'].pairs} pairs of a taken event and a window that had gone")
        check_recovery(rig, daemon, live)
    rig.done()


main()
