#!/usr/bin/env python3
"""A three-step sequence per CPU-second: the state stage against Apache Flink's CEP library, same events, both from
memory, in one run.

    perf/peer_cep.py BUILD_DIR [EVENTS] [KEYS]

Pages /a, /b, /c of a user, each followed by the next within 60 s, past the last event; keys at random, the events of
each are a, b, c, a, ..., so that every event passes the step that its key waits for, but for those that disorder turns
around. Both sides make their inputs before the clock starts (journal blocks here, Java objects there), judge in order
of event time, and sum up a hash of each match, which must be equal. What is measured is the CPU time of the process.
Flink's includes its compiler's; with few events that is a large part."""
import os
import random
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "integration", "equality"))
import flink  # noqa: E402  (needs the path above)
from common import START_MS  # noqa: E402

BOUND_MS, SPAN_MS, DISORDER_MS = 2000, 40000, 100


def text(value):
    raw = value.encode()
    return struct.pack("<H", len(raw)) + raw


def write_sequences(path, events, keys):
    """As common.write_events() does. The last event closes everything."""
    rng, step, rest = random.Random(7), [0] * keys, text("US") + text("web") + text("click")
    pages = [text("/" + letter) for letter in "abc"]
    with open(path, "wb") as f:
        for i in range(events):
            key = rng.randrange(keys)
            ts = START_MS + i * SPAN_MS // events - rng.randrange(DISORDER_MS)
            f.write(struct.pack("<qqqd", ts, i, 0, 1.0) + text(f"u{key}") + pages[step[key]] + rest)
            step[key] = (step[key] + 1) % 3
        f.write(struct.pack("<qqqd", START_MS + 10 * SPAN_MS, events, 0, 1.0) + text("u999999999") + text("/x") + rest)


def ours(build, path):
    out = subprocess.run([os.path.join(build, "perf", "bench_cep"), "file", path], capture_output=True, text=True,
                         check=True).stdout
    return dict(pair.split("=") for pair in out.split())


def main():
    build = sys.argv[1]
    events = int(sys.argv[2]) if len(sys.argv) > 2 else 3000000
    keys = int(sys.argv[3]) if len(sys.argv) > 3 else 100000
    reason = flink.missing()
    if reason:
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as scratch:
        class_path, path = flink.build(scratch), os.path.join(scratch, "events")
        write_sequences(path, events, keys)
        mine = [ours(build, path) for _ in range(3)]
        theirs = flink.run(class_path, heap="6g", program="Sequence", **{"in": path}, bound=BOUND_MS)
        mine += [ours(build, path) for _ in range(3)]
    same = all(m[k] == theirs[k] for m in mine for k in ("events", "matches", "checksum"))
    rates = sorted(int(x["events"]) / int(x["cpu_ns"]) * 1e9 for x in mine)
    other = int(theirs["events"]) / int(theirs["cpu_ns"]) * 1e9
    print(f"{keys} keys, {theirs['events']} events, {theirs['matches']} matches: sluice {rates[0] / 1e6:.2f} to "
          f"{rates[-1] / 1e6:.2f} M, Flink {other / 1e6:.3f} M events per CPU-second: "
          f"{rates[len(rates) // 2] / other:.0f} times (median); matches "
          f"{'equal' if same else 'DIFFER: ' + str((mine[0], theirs))}", flush=True)
    sys.exit(0 if same else 1)


main()
