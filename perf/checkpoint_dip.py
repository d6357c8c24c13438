#!/usr/bin/env python3
"""What checkpoints of many keys cost while events come.

    perf/checkpoint_dip.py [BUILD_DIR] [RATE] [KEYS] [SECONDS] [AGGREGATES]

sluice-gen sends RATE events a second (100,000) from a network namespace to DPDK's af_packet; every event counts in one
window of a day by user, of whom there are KEYS (1,200,000); once a million of them are live a checkpoint is made every
4 s, for SECONDS (30). Every 100 ms the control socket is asked what is journaled, what the state stage has taken, and
about checkpoints. Printed: the journal's and the state stage's throughput in the intervals that overlap with a
checkpoint (from its thread's standing still until it is written) and in those without, of the same run; the longest
pause; drops by name, which must be none at a load that is held. Needs root; no sinks."""
import os
import re
import statistics
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "integration", "e2e"))
from common import PARTITIONS, Control, cpu_seconds  # noqa: E402  (the others need the path above)
from daemon import UDP_PORT, Daemon  # noqa: E402
from netns import Sender  # noqa: E402
from rig import Rig, wait_until  # noqa: E402


def argument(n, default):
    return type(default)(sys.argv[n]) if len(sys.argv) > n else default


BUILD, RATE, KEYS = argument(1, "build"), argument(2, 100000), argument(3, 1200000)
SECONDS, AGGREGATES = argument(4, 30), argument(5, "count, sum(value), distinct(page), quantiles(value)")
LIVE = 1000000
LOST = ("no_batch", "journal_full", "journal_failed")  # others, as of frames that are not for us, do not count
EVERY_SECONDS, STEP_SECONDS = 4, 0.1


class Looks(Control):
    def __init__(self, path):
        super().__init__(path)
        self.all = []

    def metrics(self):
        return self.call("metrics")["text"]

    def look(self):
        at, text = time.monotonic(), self.metrics()
        self.all.append((at, text))
        return text


def values(text, name):
    return [float(v) for v in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.M)]


def busy(looks):
    """Intervals of checkpoints: between two looks one more is written; what it took lies before."""
    found = []
    for (_, a), (at, b) in zip(looks, looks[1:]):
        for p, (old, new) in enumerate(zip(*(values(t, "sluice_state_checkpoints_total") for t in (a, b)))):
            if new > old:
                took = values(b, "sluice_state_checkpoint_gather_seconds")[p] + \
                    values(b, "sluice_state_checkpoint_write_seconds")[p]
                found.append((at - STEP_SECONDS - took, at))
    return found


def rates(looks, name, times):
    """Events a second of each interval between looks: (with a checkpoint, without)."""
    with_one, without = [], []
    for (t0, a), (t1, b) in zip(looks, looks[1:]):
        rate = (sum(values(b, name)) - sum(values(a, name))) / (t1 - t0)
        (with_one if any(begin < t1 and end > t0 for begin, end in times) else without).append(rate)
    return with_one, without


def report(looks, name, what, times):
    with_one, without = rates(looks, name, times)
    if not with_one or not without:
        sys.exit("no checkpoint, or nothing but checkpoints")
    a, b = statistics.mean(with_one), statistics.mean(without)
    print(f"{what}: {b:,.0f}/s without ({len(without)} intervals), {a:,.0f}/s during checkpoints ({len(with_one)}): "
          f"dip {100 * (1 - a / b):.1f} %; slowest interval {min(without):,.0f} and {min(with_one):,.0f}")
    return 1 - a / b


def measure(rig, daemon, gen):
    looks = Looks(daemon.socket)
    rig.expect(wait_until(lambda: sum(values(looks.metrics(), "sluice_window_keys")) >= LIVE, 120, "keys", step=1),
               f"{LIVE} keys are live")
    looks.look()
    begin, cpu = time.monotonic(), cpu_seconds(daemon.child.pid)
    while time.monotonic() < begin + SECONDS:
        time.sleep(STEP_SECONDS)
        looks.look()
    cpu = (cpu_seconds(daemon.child.pid) - cpu) / SECONDS
    text, times = looks.all[-1][1], busy(looks.all)
    drops = {n: int(v) for n, v in re.findall(r'^sluice_drops_total{[^}]*reason="(\w+)"[^}]*} (\d+)$', text, re.M)
             if int(v)}
    dip = report(looks.all, "sluice_partition_durable_records", "journaled", times)
    report(looks.all, "sluice_state_records_total", "taken by the state stage", times)
    print(f"{sum(values(text, 'sluice_window_keys')):,.0f} keys, checkpoints of "
          f"{sum(values(text, 'sluice_state_checkpoint_bytes')) / 1e6:.0f} MB in all, "
          f"{len(times)} written; a partition stood still for up to "
          f"{max(max(values(t, 'sluice_state_checkpoint_gather_seconds')) for _, t in looks.all) * 1000:.0f} ms, "
          f"writing took up to "
          f"{max(max(values(t, 'sluice_state_checkpoint_write_seconds')) for _, t in looks.all) * 1000:.0f} ms; "
          f"most behind {max(sum(values(t, 'sluice_state_behind')) for _, t in looks.all):,.0f}; {cpu:.2f} cores of "
          f"{os.cpu_count()}, load average {os.getloadavg()[0]:.1f}")
    kernel = sum(p.get("kernel_drops") or 0 for p in daemon.ctl("ports")["ports"])
    print(f"drops: {drops or 'none'}, of the kernel's ring {kernel}")
    rig.gen_stop("load", gen)
    return dip < 0.1 and not kernel and not any(name in drops for name in LOST)


with Rig(BUILD, root=True) as rig:
    sender = Sender(rig)
    daemon = Daemon(rig, "dip", sender.af_packet(1), workers=1, sinks=False, time={"out_of_orderness": "100ms"},
                    state={"enabled": True, "checkpoint_every": f"{EVERY_SECONDS}s", "memory": "8GiB"},
                    worker={"batches": 256},
                    journal={"partitions": PARTITIONS, "segment_bytes": "64MiB", "segments_max": 32,
                             "dedup_window": "10s", "dedup_ids_max": 1000000})
    daemon.config["windows"] = [{"name": "users", "size": "1d", "by": "user_id", "keys_max": 10000000,
                                 "types": "click, page_view", "aggregates": AGGREGATES}]
    if not rig.expect(daemon.start(), "sluiced runs"):
        sys.exit(daemon.log_tail())
    load = sender.gen("load", 4, UDP_PORT, mix="click=1,page_view=1", rate=RATE, events_per_datagram=6, flows=16,
                      users=KEYS, pages=1000, zipf=0)
    good = measure(rig, daemon, load)
    daemon.stop_well("dip", seconds=120)
sys.exit(0 if good and not rig.failures else 1)
