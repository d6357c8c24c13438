"""Kills of sluiced, at named steps and at random, and the account of what was lost meanwhile. Used by the crash test and by
torture.py."""
import bisect
import signal
import time

from daemon import now_ms
from rig import say

# Steps of sluiced that make something durable: the largest pass at which to kill (1 = the first). A step that a run may not
# reach (there is nothing to cut, no segment is full) is followed by a kill at the time limit.
JOURNAL_POINTS = {"journal_meta_renamed": 1, "journal_segment_made": 6, "journal_block_built": 40,
                  "journal_write_submitted": 40, "journal_write_completed": 40, "journal_mark_written": 20,
                  "journal_segment_sealed": 2, "journal_recovery_cut": 1}
KAFKA_POINTS = {"kafka_begun": 16, "kafka_produced": 16, "kafka_position": 16, "kafka_before_commit": 16,
                "kafka_committed": 16}
CLICKHOUSE_POINTS = {"ch_intent": 12, "ch_sent": 12, "ch_answered": 12, "ch_marked": 12}
ALL_POINTS = {**JOURNAL_POINTS, **KAFKA_POINTS, **CLICKHOUSE_POINTS}
# How long before a kill an event that is lost by it may have been sent: it lay in the kernel's ring, in a batch, in a block
# that was not durable yet. What is printed says how long it really was.
IN_FLIGHT_MS = 3000


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


class SendClock:
    """When each line of a truth file was sent, by the generator's clock file."""

    def __init__(self, path):
        self.lines, self.before, self.after = [], [], []
        with open(path, encoding="ascii") as f:
            for row in f:
                line, before, after = map(int, row.split())
                self.lines.append(line)
                self.before.append(before)
                self.after.append(after)

    def range_of(self, from_ms, to_ms):
        """First and last line that may have been sent between these times; None if there is none."""
        first = bisect.bisect_left(self.after, from_ms)
        last = bisect.bisect_right(self.before, to_ms) - 1
        if first > last:
            return None
        return (self.lines[first - 1] if first else 0) + 1, self.lines[last]

    def sent_ms(self, line):
        return self.before[min(bisect.bisect_left(self.lines, line), len(self.lines) - 1)]


def down_times(kills):
    """The intervals in which events may be lost, as (from, to, kill), to = when sluiced answered again."""
    return [(k.died_ms - IN_FLIGHT_MS, k.back_ms, k) for k in kills]


def allowed_missing(clock, kills):
    args = []
    for begin, end, _kill in down_times(kills):
        lines = clock.range_of(begin, end)
        if lines:
            args += ["--allow-missing", f"{lines[0]}..{lines[1]}"]
    return args


def print_losses(path, clock, kills):
    """Per kill: how many events are not in the journal, and how long before the kill the first of them was sent."""
    with open(path, encoding="ascii") as f:
        times = sorted(clock.sent_ms(int(line.split()[0])) for line in f)
    total, taken = len(times), 0
    for begin, end, kill in down_times(kills):
        mine = [t for t in times if begin <= t <= end]
        times = [t for t in times if not begin <= t <= end]
        taken += len(mine)
        before = max(0, kill.died_ms - min(mine)) if mine else 0
        say(f"{kill.text()}: {len(mine)} events sent and not journaled, the first of them {before} ms before it; down for "
            f"{kill.back_ms - kill.died_ms} ms")
    say(f"not journaled: {total}, of these in crash intervals: {taken}")


def pause(rig, least, most):
    time.sleep(rig.random.uniform(least, most))
