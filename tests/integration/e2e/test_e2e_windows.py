"""The state stage end to end: windows of every kind with short sizes, live traffic, kill -9 of sluiced at every named
step of the state stage, the journals and the sinks and at random while windows close; definitions change between kills;
the wall clock of sluiced steps back and forth all the time; then by more than what events are judged by allows; then
the traffic of one user alone, which leaves the other partitions idle.

Shown: merged rows, alerts and late events in Kafka, in ClickHouse and in the output log are those of an offline replay
of the journal that survived (windows.py), and a further start with nothing new adds nothing. The state stage's own
comparison never stops a partition."""
import os
import re
import sys

from chaos import CLICKHOUSE_POINTS, KAFKA_POINTS, Killer
from daemon import UDP_PORT, Daemon, now_ms
from netns import Sender
from rig import Rig, say, wait_until
from wall_clock import WallClock
from windows import Windows, log_of, rules_without_state, settle, step_ms, stopped, windows_config

# The largest pass at which to kill, and how often. Passes grow with the time that sluiced has been up.
STATE_POINTS = {"state_batch_sealed": (60, 3), "state_output_durable": (12, 3), "state_checkpoint_written": (12, 3),
                "state_checkpoint_trimmed": (12, 3), "checkpoint_written": (12, 2), "checkpoint_synced": (12, 2),
                "checkpoint_renamed": (12, 2), "checkpoint_dir_synced": (12, 2)}
JOURNAL_POINTS = {"journal_block_built": (100, 2), "journal_write_submitted": (100, 2),
                  "journal_write_completed": (100, 2), "journal_mark_written": (6, 1), "journal_recovery_cut": (1, 1)}
# Passed only when a definition is new, each by one of the partitions or for one file.
CHANGE_POINTS = {"state_terms_changed": (4, 4), "window_written": (1, 1), "window_synced": (1, 1),
                 "window_renamed": (1, 1), "window_dir_synced": (1, 1)}
# A journal's positions are split once, at its first start.
SINK_POINTS = {name: (6, 1) for name in (*KAFKA_POINTS, *CLICKHOUSE_POINTS) if name != "kafka_split"}
RANDOM_KILLS = 14
KILLS_LEAST = 50
LIMIT = 3.0  # seconds up, if the pass does not come
# Where the clock steps to and back from, ms; back ones first, for receive times stand still after one ahead.
CLOCK_MS = [-2000, 1500, -4000, 6000, -1000, 30000, -3000, 90000]
FUTURE_MS, PAST_MS = 40000, 600000  # how events are judged
MIX = dict(mix="all", rate=3000, events_per_datagram=4, flows=16, users=300, pages=300, dup_permille=20,
           escape_permille=20, utf8_permille=20, bad_permille=5, disorder_ms=300, late=0.02, late_by=1500)


def plans_of(rig, points):
    return [f"{name}:{rig.random.randint(1, most)}" for name, (most, times) in points.items() for _ in range(times)]


def kills_phase(rig, daemon, sender, clock):
    killer, version = Killer(rig, daemon), 0
    killer.run(f"journal_meta_renamed:{rig.random.randint(1, 2)}")  # of the journal, of the output log
    rig.expect(killer.start(), "sluiced runs before the traffic begins")
    gen = sender.gen("live", 4, UDP_PORT, seed=rig.seed, **MIX)
    rig.expect(wait_until(lambda: daemon.counter("events") > 2000, 60, "live traffic"), "live traffic arrives")
    killer.strike("random")
    clock.keep_stepping(CLOCK_MS)
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
        killer.run(f"{name}:1", limit=90)
    rig.expect(killer.start(), "up after the last kill")
    clock.stop()
    judged_phase(rig, daemon, clock, killer)
    rig.gen_stop("live", gen)
    return killer


def judged_phase(rig, daemon, clock, killer):
    """Event times are judged by the clock as it is: right ones are refused while it is wrong by too much."""
    def grows(what, count, least=1000):
        before = count()
        return wait_until(lambda: count() > before + least, 90, what)

    def accepted():
        return daemon.counter("accepted")

    for at_ms, reason in ((-FUTURE_MS - 20000, "timestamp_future"), (PAST_MS + 20000, "timestamp_past")):
        rig.expect(grows("accepted events", accepted), "the clock is right: events are accepted")
        clock.set(at_ms)
        good = grows(reason, lambda: daemon.drops().get(reason, 0))
        before = accepted()
        good = good and grows(reason, lambda: daemon.drops().get(reason, 0))
        rig.expect(good and accepted() == before, f"the clock is {at_ms} ms off: events are refused as {reason}")
        clock.set(0)
    rig.expect(grows("accepted events", accepted), "the clock is right again: events are accepted")
    clock.check_counters(len(killer.kills))


def missed(killer):
    must = {*STATE_POINTS, *CHANGE_POINTS, *SINK_POINTS}
    return sorted(must - {k.plan.split(":")[0] for k in killer.reached()})


def idle_phase(rig, daemon, sender, killer):
    """All events in one partition: the others' time goes on by the clock, windows close, also across a kill."""
    gen = sender.gen("one", 6, UDP_PORT, seed=rig.seed + 1, **dict(MIX, users=1, mix="click=3,page_view=3,session=1",
                                                                   rate=500))
    for again in range(2):
        now = now_ms()
        rig.expect(wait_until(lambda: step_ms(daemon) >= now + 3000, 120, "windows that close"),
                   "windows close while one partition alone has events")
        if not again:
            killer.strike("random")
            rig.expect(killer.start(), "up again")
    rig.gen_stop("one", gen)


with Rig(sys.argv[1], kafka=3, clickhouse=True, root=True) as rig:
    sender = Sender(rig)
    daemon = Daemon(rig, "win", sender.af_packet(2), time={"out_of_orderness": "500ms", "tick": "200ms",
                                                           "future_max": f"{FUTURE_MS}ms", "past_max": f"{PAST_MS}ms"},
                    kafka={"topic_late": "win.late", "topic_aggregates": "win.window."}, rules=rules_without_state(rig),
                    state={"enabled": True, "step": "500ms", "checkpoint_every": "300ms", "checkpoints_kept": 2,
                           "segment_bytes": "4MiB", "segments_max": 3})
    daemon.config["windows"] = windows_config(0)
    clock = WallClock(rig, daemon)
    killer = kills_phase(rig, daemon, sender, clock)
    idle_phase(rig, daemon, sender, killer)
    settle(rig, daemon, now_ms() + 6000)
    end_ms = step_ms(daemon)
    daemon.stop_well("windows")
    rig.expect(len(killer.kills) >= KILLS_LEAST, f"{len(killer.kills)} kills, {len(killer.reached())} at a named step")
    rig.expect(not missed(killer), f"every step of the state stage and the sinks was the place of a kill, but: "
               f"{missed(killer) or 'none'}")
    rig.expect(not stopped(daemon), f"no partition's replay ever differed {stopped(daemon)[:2] or ''}")
    compared = sum(map(int, re.findall(r"recovered partition=.* compared=(\d+)", log_of(daemon))))
    rig.expect(compared, f"after the starts {compared} records were computed again and found equal")

    feeder = os.path.join(rig.build, "tests", "integration", "state", "state_feeder")
    first = Windows(rig, daemon, feeder)
    first.check_all(least=5000)
    clock.check_alarm(least=20)
    clock.check_journal()
    rig.verify(daemon, "raw events")

    rig.expect(daemon.start(), "started again")
    settle(rig, daemon, end_ms + 2000)
    daemon.stop_well("started again")
    second = Windows(rig, daemon, feeder)
    rig.expect(second.lines == first.lines, f"nothing new: {len(second.lines)} rows as before")
    second.check_all()
    say(f"journal, log, Kafka, ClickHouse: {len(second.lines)} rows")
rig.done()
