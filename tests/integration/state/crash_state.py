"""Kills the state stage at every durable step and at random moments. After each kill the output log must be, record
by record, what an offline replay of the surviving journal gives, as far as it goes; after a run that ends in order, all
of it. Then: damaged checkpoints, a missing output log, a reader that does not move.

usage: crash_state.py FEEDER RANDOM_KILLS [SEED]"""
import glob
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

POINTS = [("journal_meta_renamed", (1, 1)), ("window_written", (1,)), ("window_synced", (1,)), ("window_renamed", (1,)),
          ("window_dir_synced", (1,)), ("journal_segment_sealed", (1, 3)),
          ("checkpoint_written", (1, 7, 20)), ("checkpoint_synced", (3, 9)), ("checkpoint_renamed", (2, 11)),
          ("checkpoint_dir_synced", (4, 16)), ("state_output_durable", (1, 5, 14)), ("state_batch_sealed", (1, 6, 30)),
          ("state_checkpoint_written", (1, 6, 13)), ("state_checkpoint_trimmed", (2, 8, 17)),
          ("state_terms_changed", (1, 2, 4)), ("state_memory_changed", (1,)),
          ("journal_block_built", (3, 60)), ("journal_write_submitted", (2, 70)),
          ("journal_write_completed", (5, 90)), ("journal_segment_recycled", (1, 2)),
          ("journal_mark_written", (6,)), ("journal_recovery_cut", (2, 7))]
FIRST = ("journal_meta_renamed", "window_written", "window_synced", "window_renamed", "window_dir_synced",
         "journal_segment_sealed")
SETS = 3


class Test:
    def __init__(self, feeder, home):
        self.feeder, self.home, self.number, self.set = feeder, home, 0, 0
        self.seconds = 0.5  # of the last run that was not killed: as fast as this machine is now
        self.log = open(os.path.join(home, "feeder.log"), "w", encoding="utf-8")

    def call(self, *words, env=None, kill_after=None):
        began = time.monotonic()
        process = subprocess.Popen([self.feeder, *words], env={**os.environ, **(env or {})}, stderr=self.log)
        if kill_after is not None:
            try:
                process.wait(kill_after)
            except subprocess.TimeoutExpired:
                process.kill()
        code = process.wait(600)
        if code == 0:
            self.seconds = time.monotonic() - began
        return code

    def run(self, **kwargs):
        self.number += 1
        return self.call("run", os.path.join(self.home, "data"), str(self.number), str(self.set), **kwargs)

    def check(self, complete=False, damaged=0):
        """Raises unless the log is what replay gives."""
        done = subprocess.run([self.feeder, "check", os.path.join(self.home, "data")], check=False, timeout=600,
                              stdout=subprocess.PIPE, stderr=self.log, encoding="utf-8")
        if done.returncode != 0 or f"damaged={damaged} " not in done.stdout or \
                (complete and "complete=1" not in done.stdout):
            raise AssertionError(f"round {self.number}: {done.stdout}")
        return done.stdout

    def refused(self, text):
        done = subprocess.run([self.feeder, "run", os.path.join(self.home, "data"), "0", str(self.set)], check=False,
                              timeout=600, stderr=subprocess.PIPE, encoding="utf-8")
        if done.returncode != 2 or text not in done.stderr:
            raise AssertionError(f"expected a refusal with '{text}', got {done.returncode}: {done.stderr[-600:]}")


def step(test, kind, what, n):
    """One round: killed at a point, at its nth time, or at a random moment. Whether it was."""
    if what in ("state_terms_changed", "state_memory_changed") or what in FIRST or random.random() < 0.3:
        test.set = (test.set + 1) % SETS
    if kind == "point":
        code = test.run(env={"SLUICE_CRASH": f"{what}:{n}"})
    else:
        code = test.run(kill_after=random.uniform(0.1, 0.9) * test.seconds)
    if code not in (0, -signal.SIGKILL):
        raise AssertionError(f"round {test.number} ({kind} {what} {n}): exit {code}")
    if what not in FIRST:
        test.check(complete=code == 0)
    return code == -signal.SIGKILL


def kills(test, count):
    """Each point, `count` random moments; then once more what was not met, until all were and there are enough."""
    head = [("point", name, n) for name, numbers in POINTS if name in FIRST for n in numbers]
    rest = [("point", name, n) for name, numbers in POINTS if name not in FIRST for n in numbers]
    rest += [("random", "random", 0)] * count
    random.shuffle(rest)
    # Needs a full set of segments, and comes in some rounds only.
    rest.sort(key=lambda one: one[1] == "journal_segment_recycled")
    hit = {what: 0 for _, what, _ in head + rest}
    for one in head + rest:
        hit[one[1]] += step(test, *one)
    enough, last = min(50, 30 + count), test.number + 40
    while test.number < last and (sum(hit.values()) < enough or not all(hit.values())):
        again = [one for one in rest if not hit[one[1]]] or [("random", "random", 0)]
        what = random.choice(again)
        hit[what[1]] += step(test, *what)
    print(f"{test.number} rounds, {sum(hit.values())} kills: {hit}")
    if sum(hit.values()) < enough or not all(hit.values()):
        raise AssertionError(f"never reached: {[what for what in hit if not hit[what]]}, or too few kills")


def flip(path):
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def faults(test):
    """What is broken on disk is passed over where that loses nothing, and refused where it would."""
    data = os.path.join(test.home, "data")
    files = sorted(glob.glob(os.path.join(data, "state/checkpoints/p1-*.ckpt")))
    if len(files) < 2:
        raise AssertionError(f"checkpoints of partition 1: {files}")
    flip(files[-1])  # the one before it is taken
    if test.run() != 0:
        raise AssertionError("a damaged checkpoint: the run failed")
    test.check(complete=True)
    files = glob.glob(os.path.join(data, "state/checkpoints/p2-*.ckpt"))
    for path in files:  # none is left: the journal still has everything
        flip(path)
    if test.run() != 0:
        raise AssertionError("no good checkpoint: the run failed")
    os.rename(os.path.join(data, "output"), os.path.join(test.home, "aside"))
    test.refused("is missing")
    os.rename(os.path.join(test.home, "aside"), os.path.join(data, "output"))
    if test.run() != 0:
        raise AssertionError("the output log is back: the run failed")
    other = os.path.join(test.home, "other")  # a log of another journal
    if test.call("run", other, "1", "0") != 0:
        raise AssertionError("another directory: the run failed")
    os.rename(os.path.join(data, "output"), os.path.join(test.home, "aside"))
    os.rename(os.path.join(other, "output"), os.path.join(data, "output"))
    test.refused("is of output log")
    shutil.rmtree(os.path.join(data, "output"))
    os.rename(os.path.join(test.home, "aside"), os.path.join(data, "output"))
    for path in glob.glob(os.path.join(data, "state/checkpoints/p*.ckpt")):
        os.remove(path)
    if test.run() != 0:  # with the merge's only, which is ahead of the partitions that begin anew
        raise AssertionError("only the merge's checkpoints: the run failed")
    print("faults:", test.check(complete=True).strip())


def main(feeder, count, seed):
    random.seed(seed)
    print("seed", seed)
    home = tempfile.mkdtemp(prefix="sluice-state-", dir=os.environ.get("SLUICE_TEST_DIR", "/tmp"))
    test = Test(feeder, home)
    try:
        kills(test, count)
        for _ in range(2):
            if test.run() != 0:
                raise AssertionError("a clean round failed")
            print(test.check(complete=True).strip())
        faults(test)
        shutil.rmtree(os.path.join(home, "data"))
        if test.call("burst", os.path.join(home, "data")) != 0:
            raise AssertionError("a burst: failed")
        print("burst:", test.check(complete=True).strip())
        shutil.rmtree(os.path.join(home, "data"))
        if test.call("frozen", os.path.join(home, "data")) != 0:
            raise AssertionError("a reader that does not move: failed")
        text = test.check(complete=True)
        print("frozen:", text.strip())
        if int(re.search(r"compared=(\d+)", text).group(1)) == 0:
            raise AssertionError("nothing was compared")
    except AssertionError as error:
        print(error)
        print("kept in", home)
        return 1
    shutil.rmtree(home)
    return 0


sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 30)))
