"""Kills the journal at every durable step and at random moments; each time everything around the lowest missing id
is sent again. In the end every id must have been delivered exactly once, and what the journal still has is whole.

usage: crash_journal.py FEEDER RANDOM_KILLS [DURABILITY[+compress] [SEED]]"""
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile

POINTS = [("journal_meta_renamed", (1,)), ("journal_segment_made", (1, 3, 6)),
          ("journal_mark_written", (1, 4, 5, 9, 13)), ("journal_block_built", (1, 2, 7, 40)),
          ("journal_write_submitted", (1, 3, 30)), ("journal_write_completed", (1, 5, 50)),
          ("journal_segment_sealed", (1, 4, 6)), ("journal_segment_recycled", (1, 2, 5)),
          ("journal_recovery_cut", (1, 2, 5)), ("journal_ids_written", (1, 3, 7))]


COMPRESS_POINTS = [("journal_compress_frame", (1, 4, 9)), ("journal_compress_written", (1, 3)),
                   ("journal_compress_synced", (1, 2, 4)), ("journal_compress_renamed", (1, 2, 4)),
                   ("journal_compress_named", (1, 3)), ("journal_compressed_freed", (1, 2, 4))]
MORE_POINTS = {"interval": [("journal_sync_submitted", (1, 4, 20)), ("journal_sync_completed", (1, 5, 30))]}


def run(feeder, home, number, env=None, kill_after=None):
    """Return code of one round; negative: ended by that signal."""
    process = subprocess.Popen([feeder, "run", home, str(number)], env={**os.environ, **(env or {})})
    if kill_after is not None:
        try:
            process.wait(kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait(300)


def check(feeder, home, want):
    return subprocess.run([feeder, "check", home, str(want)], check=False).returncode


def main(feeder, kills, durability, seed, compress):
    random.seed(seed)
    print("seed", seed)
    os.environ["FEEDER_DURABILITY"] = durability
    points = POINTS + MORE_POINTS.get(durability, [])
    if compress:
        os.environ["FEEDER_COMPRESS"] = "1"
        points += COMPRESS_POINTS
    home = tempfile.mkdtemp(prefix="sluice-crash-", dir=os.environ.get("SLUICE_TEST_DIR", "/tmp"))
    plan = [("point", name, n) for name, numbers in points for n in numbers]
    plan += [("random", random.uniform(0.05, 0.9), 0) for _ in range(kills)]
    # The first rounds must meet the points of a journal's creation; the others come in any order.
    head = [step for step in plan if step[1] == "journal_meta_renamed" or (step[1] == "journal_segment_made")]
    rest = [step for step in plan if step not in head]
    random.shuffle(rest)
    rest.sort(key=lambda step: step[1] == "journal_segment_recycled")  # needs a full set of segments
    hit, number = {}, 0
    todo, last = head + rest, len(plan) + 30
    while todo:
        kind, what, n = todo.pop(0)
        number += 1
        if kind == "point":
            code = run(feeder, home, number, {"SLUICE_CRASH": f"{what}:{n}"})
        else:
            code = run(feeder, home, number, kill_after=what)
        if code not in (0, -signal.SIGKILL):
            print(f"round {number} ({kind} {what} {n}): exit {code}; kept in {home}")
            return 1
        key = what if kind == "point" else "random"
        hit[key] = hit.get(key, 0) + (code == -signal.SIGKILL)
        if not todo and number < last:  # once more what was not met
            todo = [("point", name, numbers[0]) for name, numbers in points if not hit[name]]
    for _ in range(2):
        number += 1
        if run(feeder, home, number) != 0:
            print(f"a clean round failed; kept in {home}")
            return 1
    if check(feeder, home, 40000) != 0:
        print(f"kept in {home}")
        return 1
    print(f"{number} rounds; kills that hit:", hit)
    missed = [name for name, _ in points if not hit.get(name)]
    if missed:
        print("never reached:", missed)
        return 1
    shutil.rmtree(home)
    return 0


MODE, _, COMPRESS = (sys.argv[3] if len(sys.argv) > 3 else "commit").partition("+")
sys.exit(main(sys.argv[1], int(sys.argv[2]), MODE,
              int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(1 << 30), COMPRESS == "compress"))
