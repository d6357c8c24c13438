"""kill -9 of the whole process at each step of a transaction and at random moments: each journaled record is in Kafka
exactly once, under its own address, afterwards."""
import os
import signal
import time

from kafka_rig import LIMIT, Rig

POINTS = ["kafka_begun", "kafka_produced", "kafka_position", "kafka_before_commit", "kafka_committed"]
RANDOM_KILLS = 10

with Rig(1, 21891) as rig:
    for point in POINTS:
        # Pass 5 and later: the barriers of four partitions pass begun, before_commit and committed too.
        n = rig.random.randrange(6, 14)
        rc = rig.feed_until(f"{point}:{n}", "points")
        rig.expect(rc == -signal.SIGKILL, f"killed at {point}:{n} (rc {rc})")
    rig.expect(rig.feed("points", 0) == 0, "the rest is delivered after the last crash")
    rig.compare("points", "after a crash at each point")

    for n in range(RANDOM_KILLS):
        child = rig.start("random", 10 ** 9, rate=15000)
        time.sleep(rig.random.uniform(0.3, 2.5))
        rig.expect(child.poll() is None, f"random kill {n}: it was still running")
        child.kill()
        child.wait()
    rig.expect(rig.feed("random", 1000) == 0, "the rest is delivered after the last kill")
    rig.compare("random", f"after {RANDOM_KILLS} random kills")

    child = rig.start("term", 10 ** 9, rate=15000)
    rig.wait_log("term", "position=0")
    time.sleep(1)
    child.terminate()
    rig.expect(child.wait(LIMIT) == 0, "SIGTERM drains")
    rig.compare("term", "after an orderly stop, without a second run")

    os.environ["RIG_EVENTS_OFF"] = "1"  # what is made of events goes on without them
    rc = rig.feed_until(f"kafka_produced:{rig.random.randrange(6, 14)}", "made")
    rig.expect(rc == -signal.SIGKILL, f"without raw events: killed (rc {rc})")
    rig.expect(rig.feed("made", 1000) == 0, "without raw events: the rest is delivered")
    rig.compare("made", "without raw events")
rig.done()
