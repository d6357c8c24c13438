#!/usr/bin/env python3
"""Windows per CPU-second: the state and merge stages against Apache Flink, same events, both from memory, in one run.

    perf/peer_windows.py BUILD_DIR [EVENTS] [KEYS] [EVENTS_PER_MS] [KIND]      KIND: hopping, say; all if none

Both sides make their inputs before the clock starts (journal blocks here, Java objects there) and sum up a hash of each
row, which must be equal. What is measured is the CPU time of the process, so that Flink's second thread counts, too."""
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "integration", "equality"))
import flink  # noqa: E402  (needs the path above)
from common import bench_windows, write_events  # noqa: E402

BOUND_MS = 2000
CASES = {
    "tumbling 10 s": (dict(kind="tumbling", size=10000), "kind: tumbling, size: 10s", 1),
    "hopping 10 s / 1 s": (dict(kind="hopping", size=10000, slide=1000), "kind: hopping, size: 10s, slide: 1s", 2),
    "session gap 2 s": (dict(kind="session", gap=2000), "kind: session, gap: 2s", 1),
}


def main():
    build = sys.argv[1]
    events = int(sys.argv[2]) if len(sys.argv) > 2 else 4000000
    keys = int(sys.argv[3]) if len(sys.argv) > 3 else 100000
    per_ms = int(sys.argv[4]) if len(sys.argv) > 4 else 200
    cases = {k: v for k, v in CASES.items() if sys.argv[5:6] in ([], [v[0]["kind"]])}
    if not cases:
        sys.exit(f"no such kind: {sys.argv[5]}")
    reason = flink.missing()
    if reason:
        sys.exit(reason)
    differ = 0
    with tempfile.TemporaryDirectory() as scratch:
        class_path = flink.build(scratch)
        for name, (arguments, definition, fewer) in cases.items():
            path = os.path.join(scratch, "events")
            write_events(path, events // fewer, keys, per_ms, spread=BOUND_MS)
            window = "{name: w, by: user_id, aggregates: 'count, sum(amount)', " + definition + "}"
            mine = bench_windows(build, path, window, BOUND_MS)
            theirs = flink.run(class_path, heap="8g", **{"in": path}, made=1, by="user_id", bound=BOUND_MS,
                               watermark="periodic", **arguments)
            rate = [int(x["events"]) / int(x["cpu_ns"]) * 1e9 for x in (mine, theirs)]
            same = all(mine[k] == theirs[k] for k in ("events", "rows", "checksum"))
            differ += not same
            print(f"{name:20} {mine['events']} events, {mine['rows']} rows: sluice {rate[0] / 1e6:.2f} M, Flink "
                  f"{rate[1] / 1e6:.3f} M events per CPU-second: {rate[0] / rate[1]:.1f} times; rows "
                  f"{'equal' if same else 'DIFFER: ' + str((mine, theirs))}", flush=True)
    sys.exit(1 if differ else 0)


main()
