#!/usr/bin/env python3
"""What `worker.power: adaptive` costs in latency, and what it saves in CPU, against `poll`.

    perf/idle_power.py BUILD_DIR [SECONDS] [RATE...]      default: 20 s each at 1 (idle), 5000 and 50000 events/s

Runs alert_latency.py in turn with both: `decided` of its rule over single events is the time from the datagram's
hand-over to the kernel until it is durable in the journal. One run of each is noise; what counts is the difference
between neighbours, so each pair is run REPEAT (2) times and all are printed. Needs root and what
./run deps installs."""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = sys.argv[2] if len(sys.argv) > 2 else "20"
RATES = [int(r) for r in sys.argv[3:]] or [1, 5000, 50000]


def run(rate, power):
    out = subprocess.run([sys.executable, os.path.join(HERE, "alert_latency.py"), sys.argv[1], str(rate), SECONDS,
                          f"worker.power={power}"], capture_output=True, text=True, check=False,
                         env=dict({"PROBES": "40", "WARM": "5"}, **os.environ)).stdout
    cpu = re.search(r"CPU: sluiced ([0-9.]+) [(]worker ([0-9.]+)[)].*load average ([0-9.]+): (.*)", out)
    decided = re.search(r"single +decided +p50 +([0-9.]+) +p99 +([0-9.]+)", out)
    if not cpu or not decided:
        sys.exit(f"{rate} {power}: no numbers:\n{out[-2000:]}")
    return decided.groups() + cpu.groups()


print("| events/s | power | journaled p50, p99 ms | CPU of the worker, of sluiced (cores) | load average | |")
print("|---|---|---|---|---|---|")
for events in RATES:
    for _ in range(int(os.environ.get("REPEAT", "2"))):
        for mode in ("poll", "adaptive"):
            p50, p99, sluiced, worker, average, held = run(events, mode)
            print(f"| {events:,} | {mode} | {p50}, {p99} | {worker}, {sluiced} | {average} | {held} |", flush=True)
