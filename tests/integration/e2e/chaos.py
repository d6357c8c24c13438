"""Kills of sluiced, at named steps and at random. Used by the crash test and by torture.py."""
import signal
import time

from daemon import now_ms
from rig import say

# Steps of sluiced that make something durable: the largest pass at which to kill (1 = the first). A step that a run
# may not reach (there is nothing to cut, no segment is full) is followed by a kill at the time limit.
JOURNAL_POINTS = {"journal_meta_renamed": 1, "journal_segment_made": 6, "journal_block_built": 40,
                  "journal_write_submitted": 40, "journal_write_completed": 40, "journal_mark_written": 20,
                  "journal_segment_sealed": 2, "journal_recovery_cut": 1}
KAFKA_POINTS = {"kafka_begun": 16, "kafka_produced": 16, "kafka_position": 16, "kafka_before_commit": 16,
                "kafka_committed": 16, "kafka_split": 2, "kafka_alerts_produced": 16, "kafka_alerts_before_commit": 24,
                "kafka_alerts_committed": 24}
CLICKHOUSE_POINTS = {"ch_intent": 12, "ch_sent": 12, "ch_answered": 12, "ch_marked": 12}
ALL_POINTS = {**JOURNAL_POINTS, **KAFKA_POINTS, **CLICKHOUSE_POINTS}


class Kill:
    """One kill: how it was meant, what happened, and between which times (ms) sluiced could not take events."""

    def __init__(self, number, plan):
        self.number, self.plan = number, plan
        self.reached, self.up, self.died_ms, self.back_ms = False, False, 0, 0

    def text(self):
        return f"kill {self.number}: {self.plan}, " + ("reached" if self.reached else "killed from outside") + \
            ("" if self.up else ", before it was up")


class Killer:
    def __init__(self, rig, daemon):
        self.rig, self.daemon, self.kills = rig, daemon, []

    def plan_points(self, points):
        return [f"{name}:{self.rig.random.randint(1, most)}" for name, most in points.items()]

    def run(self, plan, limit=8.0):
        """Starts sluiced, kills it by the plan ("name:N" or "random"); it is down afterwards."""
        return self.strike(plan, self.start(None if plan == "random" else plan), limit)

    def strike(self, plan, up=True, limit=8.0):
        """Waits for the death that the plan arranged, or kills."""
        kill = Kill(len(self.kills) + 1, plan)
        kill.up = up
        seconds = self.rig.random.uniform(0.05, 3.0) if plan == "random" else limit
        rc = self.daemon.wait_dead(seconds)
        kill.reached = rc is not None
        if rc is None:
            rc = self.daemon.kill()
        kill.died_ms = now_ms()
        self.kills.append(kill)
        say(kill.text())
        if rc != -signal.SIGKILL or (plan == "random" and kill.reached):
            self.rig.expect(False, f"{kill.text()}: ended by itself with {rc}")
            print(self.daemon.log_tail(), flush=True)
        return kill

    def start(self, point=None):
        """Up again; everything that was down until now is closed at this moment."""
        up = self.daemon.start(crash=point)
        if up:
            for kill in self.kills:
                kill.back_ms = kill.back_ms or now_ms()
        return up

    def reached(self):
        return [k for k in self.kills if k.reached]


def pause(rig, least, most):
    time.sleep(rig.random.uniform(least, most))
