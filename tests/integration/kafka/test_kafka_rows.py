"""kill -9 at each step of a transaction and at random while rows, alerts and late events of an output log go to Kafka:
each is there exactly once afterwards, also those of a window that only the log still names."""
import os
import signal
import subprocess
import time

from kafka_rig import LIMIT, Rig

POINTS = ["kafka_begun", "kafka_produced", "kafka_position", "kafka_before_commit", "kafka_committed"]
RANDOM_KILLS = 8


def start(rig, name, records, pause_ms=0, crash=None):
    env = dict(os.environ)
    if crash:
        env["SLUICE_CRASH"] = crash
    with open(os.path.join(rig.dir, name + ".log"), "ab") as log:
        child = subprocess.Popen([os.path.join(rig.bin, "kafka_rows"), "feed", os.path.join(rig.dir, name), rig.brokers,
                                  name, "1", str(records), str(pause_ms)], stdout=log, stderr=log, env=env)
    rig.children.append(child)
    return child


def check(rig, name, what):
    out = subprocess.run([os.path.join(rig.bin, "kafka_rows"), "check", os.path.join(rig.dir, name), rig.brokers, name],
                         timeout=2 * LIMIT, capture_output=True, text=True)
    if out.returncode:
        print(out.stdout + out.stderr)
    rig.expect(out.returncode == 0, f"{what}: {out.stdout.strip().splitlines()[-1] if out.stdout else '?'}")


with Rig(1, 22691) as rig:
    for point in POINTS:
        # The input's two producers and the output's three pass begun, before_commit and committed by their barriers.
        # It is fed until it is killed: all of a number of records would fit in a few transactions of a late start.
        n = rig.random.randrange(7, 15)
        rc = start(rig, "points", 10 ** 8, pause_ms=5, crash=f"{point}:{n}").wait(LIMIT)
        rig.expect(rc == -signal.SIGKILL, f"killed at {point}:{n} (rc {rc})")
    rig.expect(start(rig, "points", 0).wait(LIMIT) == 0, "the rest is delivered after the last crash")
    check(rig, "points", "after a crash at each point")

    for n in range(RANDOM_KILLS):
        child = start(rig, "random", 10 ** 8, pause_ms=5)
        time.sleep(rig.random.uniform(0.5, 3))
        rig.expect(child.poll() is None, f"random kill {n}: it was still running")
        child.kill()
        child.wait()
    rig.expect(start(rig, "random", 500).wait(LIMIT) == 0, "the rest is delivered after the last kill")
    check(rig, "random", f"after {RANDOM_KILLS} random kills")
    described = rig.kcat("-L", "-t", "random.aggregates.pages_old").stdout.decode()
    rig.expect("6 partitions" in described, "the topic of a window that is no longer in force was made")
rig.done()
