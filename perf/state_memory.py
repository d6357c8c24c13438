#!/usr/bin/env python3
"""Bytes that a key of an open window needs: the state stage against the heap state of Apache Flink, same events.

    perf/state_memory.py BUILD_DIR [KEYS]

All events lie in one window, EVENTS_PER_KEY for each key; one partition here, a parallelism of one there, so that each
key stands in one place. What is taken is what the process holds more behind the last event than before the first: here
the resident set, there the heap after a collection, without what a job of the same events with one key holds (its
runtime, and the index of the file). Flink's accumulators have the fields that the window needs and no others. Beside it
the stage's own account, by which state.memory bounds it. Flink keeps distinct users and quantiles exactly, as sets and
lists, the stage in sketches.
Needs ./run deps --flink; one million keys need 6 GB of memory and some minutes."""
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "integration", "equality"))
import flink  # noqa: E402  (needs the path above)
from common import bench_windows, write_events  # noqa: E402

EVENTS_PER_KEY = 4
USERS = 20
DAY_MS = 86400000
CASES = {"count, sum(amount)": 0, "count, sum(amount), distinct(user_id), quantiles(value)": 1}


def peer(class_path, path, full):
    return flink.run(class_path, heap="4g", **{"in": path}, by="page", bound=0, watermark="periodic", held=1, full=full,
                     kind="tumbling", size=DAY_MS)


def main():
    build = sys.argv[1]
    keys = int(sys.argv[2]) if len(sys.argv) > 2 else 1000000
    events = keys * EVENTS_PER_KEY
    reason = flink.missing()
    if reason:
        sys.exit(reason)
    differ = 0
    with tempfile.TemporaryDirectory() as scratch:
        class_path = flink.build(scratch)
        path = os.path.join(scratch, "events")
        write_events(path, events, 1, 1000, users=USERS)
        base = int(peer(class_path, path, 0)["held"])
        write_events(path, events, keys, 1000, users=USERS)
        for aggregates, full in CASES.items():
            mine = bench_windows(build, path, f"{{name: w, by: page, size: 1d, keys_max: 10000000, "
                                 f"aggregates: '{aggregates}'}}", 0, partitions=1)
            theirs = peer(class_path, path, full)
            same = all(mine[k] == theirs[k] for k in ("events", "rows", "checksum")) and int(mine["rows"]) == keys
            differ += not same
            held, counted, heap = int(mine["held"]) / keys, int(mine["counted"]) / keys, \
                (int(theirs["held"]) - base) / keys
            print(f"{aggregates}: {keys} keys, {EVENTS_PER_KEY} events each: sluice {held:.0f} bytes a key resident, "
                  f"{counted:.0f} counted; Flink {heap:.0f} on the heap (and {base / 1e6:.0f} MB without keys): "
                  f"{heap / held:.1f} times; rows {'equal' if same else 'DIFFER: ' + str((mine, theirs))}", flush=True)
    sys.exit(1 if differ else 0)


main()
