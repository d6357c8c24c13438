"""The state stage end to end: windows of every kind with short sizes, live traffic, kill -9 of sluiced at every named
step of the state stage, the journals and the sinks and at random while windows close; definitions change between kills;
then the traffic of one user alone, which leaves the other partitions idle.

Shown: merged rows, alerts and late events in Kafka, in ClickHouse and in the output log are those of an offline replay
of the journal that survived (windows.py), and a further start with nothing new adds nothing. The state stage's own
comparison never stops a partition."""
import os
import re
import sys
import time

from chaos import CLICKHOUSE_POINTS, KAFKA_POINTS, Killer
from daemon import UDP_PORT, Daemon, now_ms
from netns import Sender
from rig import Rig, say, wait_until
from windows import PARTITIONS, Windows, windows_config

# The largest pass at which to kill, and how often. Passes grow with the time that sluiced has been up.
STATE_POINTS = {"state_batch_sealed": (60, 3), "state_output_durable": (12, 3), "state_checkpoint_written": (12, 3),
                "state_checkpoint_trimmed": (12, 3), "checkpoint_written": (12, 2), "checkpoint_synced": (12, 2),
                "checkpoint_renamed": (12, 2), "checkpoint_dir_synced": (12, 2)}
JOURNAL_POINTS = {"journal_block_built": (100, 2), "journal_write_submitted": (100, 2),
                  "journal_write_completed": (100, 2), "journal_mark_written": (6, 1), "journal_recovery_cut": (1, 1)}
# Passed only when a definition is new, each by one of the partitions or for one file.
CHANGE_POINTS = {"state_terms_changed": (4, 4), "window_written": (1, 1), "window_synced": (1, 1),
                 "window_renamed": (1, 1), "window_dir_synced": (1, 1)}
SINK_POINTS = {name: (6, 1) for name in (*KAFKA_POINTS, *CLICKHOUSE_POINTS)}
RANDOM_KILLS = 14
KILLS_LEAST = 50
LIMIT = 3.0  # seconds up, if the pass does not come
MIX = dict(mix="all", rate=3000, events_per_datagram=4, flows=16, users=300, pages=300, dup_permille=20,
           escape_permille=20, utf8_permille=20, bad_permille=5, disorder_ms=300, late=0.02, late_by=1500)


def plans_of(rig, points):
    return [f"{name}:{rig.random.randint(1, most)}" for name, (most, times) in points.items() for _ in range(times)]


def stopped(daemon):
    """What says in the log that a partition has stopped."""
    return re.findall(r".*(?:STATE STOPPED|REPLAY DIFFERS).*", rig_log(daemon))


def rig_log(daemon):
    return daemon.rig.text(daemon.log)


def state_of(daemon):
    return daemon.ctl("windows") or {}


def kills_phase(rig, daemon, sender):
    killer, version = Killer(rig, daemon), 0
    killer.run(f"journal_meta_renamed:{rig.random.randint(1, 2)}")  # of the journal, of the output log
    rig.expect(killer.start(), "sluiced runs before the traffic begins")
    gen = sender.gen("live", 4, UDP_PORT, seed=rig.seed, **MIX)
    rig.expect(wait_until(lambda: daemon.counter("events") > 2000, 60, "live traffic"), "live traffic arrives")
    killer.strike("random")
    plans = plans_of(rig, {**STATE_POINTS, **JOURNAL_POINTS, **CHANGE_POINTS, **SINK_POINTS})
    plans += ["random"] * RANDOM_KILLS
    rig.random.shuffle(plans)
    for plan in plans:
        if plan.split(":")[0] in CHANGE_POINTS:
            version += 1
            daemon.config["windows"] = windows_config(version)
        killer.run(plan, limit=LIMIT)
    for name in missed(killer):  # a busy machine may be too slow for a late pass
        version += name in CHANGE_POINTS
        daemon.config["windows"] = windows_config(version)
        killer.run(f"{name}:1", limit=30)
    rig.expect(killer.start(), "up after the last kill")
    rig.gen_stop("live", gen)
    return killer


def missed(killer):
    must = {*STATE_POINTS, *CHANGE_POINTS, *SINK_POINTS}
    return sorted(must - {k.plan.split(":")[0] for k in killer.reached()})


def step_ms(daemon):
    """Event time up to which the merge has come."""
    text = (state_of(daemon).get("merge") or {}).get("up_to")
    if not text:
        return 0
    seconds, _, rest = text.rstrip("Z").partition(".")
    whole = time.strptime(seconds, "%Y-%m-%dT%H:%M:%S")
    return int((time.mktime(whole) - time.timezone) * 1000) + int((rest or "0").ljust(3, "0")[:3])


def idle_phase(rig, daemon, sender, killer):
    """All events in one partition: the others' time goes on by the clock, windows close, also across a kill."""
    gen = sender.gen("one", 6, UDP_PORT, seed=rig.seed + 1, **dict(MIX, users=1, mix="click=3,page_view=3,session=1",
                                                                   rate=500))
    for again in range(2):
        now = now_ms()
        rig.expect(wait_until(lambda: step_ms(daemon) >= now + 3000, 60, "windows that close"),
                   "windows close while one partition alone has events")
        if not again:
            killer.strike("random")
            rig.expect(killer.start(), "up again")
    rig.gen_stop("one", gen)


def settle(rig, daemon, until_ms):
    """Input over, windows closed up to there, everything delivered. Where nobody sends, event time goes on by the
    clock."""
    rig.expect(wait_until(lambda: step_ms(daemon) >= until_ms, 60, "the last windows", step=0.3),
               "windows close while nothing comes")
    rig.expect(daemon.drain(), "everything is delivered")  # never quiet: ticks and marks go on
    status = state_of(daemon)
    parts = status.get("partitions", [])
    rig.expect(len(parts) == PARTITIONS and all(p["state"] == "running" and not p["mismatches"] for p in parts) and
               status["merge"]["state"] == "running", f"every partition runs: {[p['state'] for p in parts]}")
    daemon.expect_balanced("drained")


with Rig(sys.argv[1], kafka=3, clickhouse=True, root=True) as rig:
    sender = Sender(rig)
    daemon = Daemon(rig, "win", sender.af_packet(2), time={"out_of_orderness": "500ms", "tick": "200ms"},
                    kafka={"topic_late": "win.late", "topic_aggregates": "win.window."},
                    state={"enabled": True, "step": "500ms", "checkpoint_every": "300ms", "checkpoints_kept": 2,
                           "segment_bytes": "4MiB", "segments_max": 3})
    daemon.config["windows"] = windows_config(0)
    killer = kills_phase(rig, daemon, sender)
    idle_phase(rig, daemon, sender, killer)
    settle(rig, daemon, now_ms() + 6000)
    end_ms = step_ms(daemon)
    daemon.stop_well("windows")
    rig.expect(len(killer.kills) >= KILLS_LEAST, f"{len(killer.kills)} kills, {len(killer.reached())} at a named step")
    rig.expect(not missed(killer), f"every step of the state stage and the sinks was the place of a kill, but: "
               f"{missed(killer) or 'none'}")
    rig.expect(not stopped(daemon), f"no partition's replay ever differed {stopped(daemon)[:2] or ''}")
    compared = sum(map(int, re.findall(r"recovered partition=.* compared=(\d+)", rig_log(daemon))))
    rig.expect(compared, f"after the starts {compared} records were computed again and found equal")

    feeder = os.path.join(rig.build, "tests", "integration", "state", "state_feeder")
    first = Windows(rig, daemon, feeder)
    first.check_all(least=5000)
    rig.verify(daemon, "raw events", strangers_ok=True)

    rig.expect(daemon.start(), "started again")
    settle(rig, daemon, end_ms + 2000)
    daemon.stop_well("started again")
    second = Windows(rig, daemon, feeder)
    rig.expect(second.lines == first.lines, f"nothing new: {len(second.lines)} rows as before")
    second.check_all()
    say(f"journal, log, Kafka, ClickHouse: {len(second.lines)} rows")
rig.done()
