"""kafka.mode at_least_once: killed at each step and at random nothing is lost, and what comes twice is bounded by
what one transaction would hold; the mode may change at any start, and exactly once after that is exactly once."""
import os
import re
import signal
import time

from kafka_rig import Rig

PARTITIONS, SPAN = 4, 5000  # of the rig: partitions, messages before a position
KILLS = 6


def doubled(rig, journal):
    out = rig.check(journal)
    return int(re.search(r"doubled: (\d+)", out).group(1))


with Rig(1, 21961) as rig:
    os.environ["RIG_AT_LEAST_ONCE"] = "1"
    kills = 0
    for step in ("_produced", "_position", "_before_commit", "_committed", "_alerts_committed"):
        point = "kafka" + step
        rc = rig.feed_until(f"{point}:{rig.random.randrange(9, 16)}", "steps")
        rig.expect(rc == -signal.SIGKILL, f"killed at {point} (rc {rc})")
        kills += 1
    for n in range(KILLS):
        child = rig.start("steps", 10 ** 9, rate=15000)
        time.sleep(rig.random.uniform(0.5, 2))
        rig.expect(child.poll() is None, f"random kill {n}: it was still running")
        child.kill()
        child.wait()
        kills += 1
    rig.expect(rig.feed("steps", 1000) == 0, "the rest is delivered")
    rig.compare("steps", "nothing is lost")
    twice = doubled(rig, "steps")
    # A span is 5,000 messages and those of its last record; alerts are a tenth of that.
    rig.expect(0 < twice <= kills * PARTITIONS * (SPAN + SPAN // 10), f"{twice} messages twice after {kills} kills")

    rig.expect(rig.feed("change", 20000) == 0, "at least once, in order")
    rig.expect(doubled(rig, "change") == 0, "without a crash nothing is twice")
    del os.environ["RIG_AT_LEAST_ONCE"]
    rc = rig.feed_until("kafka_position:9", "change")
    rig.expect(rc == -signal.SIGKILL, "exactly once, killed")
    os.environ["RIG_AT_LEAST_ONCE"] = "1"
    rig.expect(rig.feed("change", 20000) == 0, "at least once again")
    del os.environ["RIG_AT_LEAST_ONCE"]
    rig.expect(rig.feed("change", 1000) == 0, "exactly once again")
    rig.compare("change", "modes that change: each record once")
rig.done()
