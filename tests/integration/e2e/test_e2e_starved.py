"""A worker that gets no core for seconds: its events and batches come late, beside those of the other one, while
sluiced is killed now and then. Delay and disorder together stay within the out-of-orderness. Shown: no event is late,
no window comes out twice, and the rows in Kafka, ClickHouse and the output log are those that the accepted events give
in any order (order_free.py)."""
import os
import sys

from chaos import Killer, pause
from daemon import UDP_PORT, Daemon, now_ms
from netns import Sender
from order_free import OrderFree
from rig import Rig, say, wait_until
from thread_stop import hold, hold_and_kill, threads_named
from windows import GROUPS, Windows, rules_without_state, settle, step_ms, stopped, windows_config

BOUND_MS = 12000  # out-of-orderness; the rest of it is for a busy machine
STOPS = [(0,), (1,), (0,), (0, 1), (1,), (0, 1)]  # workers that stand still at the same time
KILLED = (2, 3)  # stops in whose middle sluiced is killed
HELD_MS = (1500, 3000)
MIX = dict(mix="all", rate=3000, events_per_datagram=4, flows=16, users=300, pages=300, dup_permille=20,
           utf8_permille=20, bad_permille=5, disorder_ms=300)


def stops_phase(rig, daemon, killer):
    for number, workers in enumerate(STOPS):
        tids = threads_named(daemon.child.pid, "rte-worker-")
        if not rig.expect(len(tids) == 2, f"two workers {tids}"):
            return
        before, seconds = daemon.counter("accepted"), rig.random.uniform(*HELD_MS) / 1000
        tids = [tids[w] for w in workers]
        say(f"workers {workers} stand still for {seconds:.1f} s")
        if number in KILLED:
            hold_and_kill(daemon.child.pid, tids, seconds)
            killer.strike("killed meanwhile")
            rig.expect(killer.start(), "up again")
            before = 0
        else:
            hold(tids, seconds)
        rig.expect(wait_until(lambda: daemon.counter("accepted") > before + 1000, 60, "events"), "events are taken")
        pause(rig, 0.5, 1.0)


with Rig(sys.argv[1], kafka=1, clickhouse=True, root=True) as rig:
    sender = Sender(rig)
    daemon = Daemon(rig, "starved", sender.af_packet(2), time={"out_of_orderness": f"{BOUND_MS}ms", "tick": "200ms"},
                    kafka={"topic_late": "starved.late", "topic_aggregates": "starved.window."},
                    rules=rules_without_state(rig),
                    state={"enabled": True, "step": "500ms", "checkpoint_every": "300ms", "checkpoints_kept": 2})
    daemon.config["windows"] = windows_config(0)
    killer = Killer(rig, daemon)
    rig.expect(killer.start(), "sluiced runs")
    gen = sender.gen("starved", 4, UDP_PORT, seed=rig.seed, **MIX)
    rig.expect(wait_until(lambda: daemon.counter("events") > 2000, 60, "traffic"), "traffic arrives")
    first_ms = now_ms()
    rig.expect(wait_until(lambda: step_ms(daemon) > first_ms, 90, "rows"), "windows close before the first stop")
    stops_phase(rig, daemon, killer)
    daemon.expect_no_kernel_drops()
    rig.gen_stop("starved", gen)
    settle(rig, daemon, now_ms() + 5000)
    daemon.stop_well("windows")
    rig.expect(not stopped(daemon), f"no partition's replay ever differed {stopped(daemon)[:2] or ''}")

    windows = Windows(rig, daemon, os.path.join(rig.build, "tests", "integration", "state", "state_feeder"))
    free = OrderFree(rig, daemon)
    rig.expect(HELD_MS[0] < free.longest_ms < BOUND_MS,
               f"events came up to {free.longest_ms} ms after their time, {BOUND_MS} ms are allowed")
    free.check(windows, GROUPS)
    windows.check_all(least=1000, late=False)
    rig.verify(daemon, "raw events")
rig.done()
