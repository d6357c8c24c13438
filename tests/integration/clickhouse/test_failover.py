"""Several servers that share nothing: test_failover.py CHEMBED HTTP TCP HTTP2 TCP2 CH_DELIVER SCENARIO

Promised is that each row is at one of them, once: over the union of both."""
import glob
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time

import delivery as d


def rows_of(engine):
    try:
        return int(engine.query("SELECT ifNull(sum(total_rows), 0) FROM system.tables WHERE database = 'rt'") or 0)
    except OSError:
        return -1


def moves(engine, what, more=0):
    """Waits until rows go to this engine, and `more` of them."""
    before = rows_of(engine)
    d.wait_for(what, lambda: rows_of(engine) > max(before, 0) + more)


def ends(process, engines, part, at_least):
    out, _ = process.communicate(timeout=d.LIMIT)
    print(out.strip())
    if process.returncode:
        part.fail(f"exit {process.returncode}")
    d.compare(engines, part, at_least)


def switches(engines, part):
    """The preferred one dies, what follows goes to the other; it is back, and gets the rest and what it was owed."""
    first, second = engines
    process = part.start(10 ** 7, CH_RANGE_EVENTS=500, CH_TIMEOUT_MS=20000, CH_FEED_PAUSE_MS=60)
    process.stdout.readline()
    moves(first, "rows at the preferred server")
    if rows_of(second) > 0:
        part.fail("rows at the other server while the preferred one is there")
    first.kill()
    moves(second, "rows at the other server")
    first.start()
    moves(first, "rows at the preferred server again")

    def back():
        """Each partition looks for itself whether the preferred one is there again."""
        at_second = rows_of(second)
        moves(first, "more rows at the preferred server", 2000)
        return rows_of(second) == at_second

    d.wait_for("an end of rows at the other server", back)
    process.terminate()
    process.communicate(timeout=d.LIMIT)
    part.run(0)
    d.compare(engines, part, 5000)
    if "what follows goes to" not in part.log_text() or "is there again" not in part.log_text():
        part.fail("no range had to wait for the server that died")


def kills(engines, part):
    """Each of the two killed, frozen and restarted at random, and the sender as well; at times both are away."""
    rng = random.Random(int(os.environ.get("SLUICE_SEED", "1")))
    process = None
    feed = dict(CH_RANGE_EVENTS=400, CH_TIMEOUT_MS=1500, CH_FEED_PAUSE_MS=40)
    for turn in range(24):
        if process is None or process.poll() is not None:
            process = part.start(200000, **feed)
            process.stdout.readline()
        time.sleep(rng.uniform(0.2, 1.2))
        engine = rng.choice(engines)
        what = rng.choice(("engine", "engine", "freeze", "sender", "both"))
        if what in ("engine", "both"):
            for e in engines if what == "both" else [engine]:
                e.kill()
            time.sleep(rng.uniform(0, 2.5))
            for e in engines if what == "both" else [engine]:
                e.start()
        elif what == "freeze":
            engine.signal(signal.SIGSTOP)
            time.sleep(rng.uniform(0.5, 5))
            engine.signal(signal.SIGCONT)
        else:
            process.kill()
            process.communicate()
            process = None
    if process:
        process.terminate()
        process.communicate(timeout=d.LIMIT)
    part.run(1000)
    print("rows:", [rows_of(e) for e in engines], "parked:", part.log_text().count("what follows goes to"))
    d.compare(engines, part, 10000)
    if min(rows_of(e) for e in engines) < 500:
        part.fail("one of the servers got nothing to speak of")


def put_aside(engines, part, range_events, pause_ms):
    """The preferred server is killed under a sender, and the sender once rows go to the other one."""
    first, second = engines
    process = part.start(10 ** 7, CH_RANGE_EVENTS=range_events, CH_TIMEOUT_MS=1500, CH_FEED_PAUSE_MS=pause_ms)
    process.stdout.readline()
    moves(first, "rows at the preferred server")
    first.kill()
    moves(second, "rows at the other server")
    process.kill()
    process.communicate()


def points(engines, part):
    """The sender killed at each step of putting a range aside and of finishing it."""
    first = engines[0]
    part.run(1000)
    for point in ("ch_parked", "ch_sent", "ch_answered", "ch_unparked", "ch_marked"):
        for _ in range(2):
            put_aside(engines, part, 300, 20)
            first.start()
            process = part.start(3000, CH_RANGE_EVENTS=300, CH_FEED_PAUSE_MS=20, CH_TIMEOUT_MS=1500,
                                 SLUICE_CRASH=f"{point}:1")
            process.stdout.readline()
            if point == "ch_parked":
                time.sleep(0.3)
                first.kill()
                try:  # no range may be under way just now: then none is parked, and it waits for this server
                    process.wait(8)
                except subprocess.TimeoutExpired:
                    pass
                first.start()
            out, _ = process.communicate(timeout=d.LIMIT)
            if process.returncode != -signal.SIGKILL and point != "ch_unparked" and point != "ch_parked":
                part.fail(f"{point}: exit {process.returncode}: {out}")
    part.run(0)
    d.compare(engines, part, 5000)


def leave_range(engines, part):
    """The same until a range waits for the preferred server, which is down then: partition, from, to."""
    while True:
        put_aside(engines, part, 500, 60)
        parked = re.search(r"partition=(\d+) range=(\d+)-(\d+) waits for", part.log_text())
        if parked:
            return tuple(int(n) for n in parked.groups())
        engines[0].start()


def lost(engines, part):
    """A server that never comes back: its range is asked for by name, and goes elsewhere only when told so."""
    first, second = engines
    leave_range(engines, part)
    both, gone = part.url, f"127.0.0.1:{first.http}"
    part.url = second.url
    before = len(part.log_text())
    part.run(0, expected=3)
    if f"may have reached {gone}: it must be finished there" not in part.log_text()[before:]:
        part.fail("not refused by name")
    part.run(2000, CH_LOST=f"nowhere:1,{gone}")
    if "is gone for good (clickhouse.lost)" not in part.log_text():
        part.fail("nothing was sent to the other server")
    # On the dead server's disk are rows that it had taken before; with them nothing is missing. What was on its
    # way to it when it died may be at both.
    first.start()
    for table in d.TABLES:
        want = {(p, o) for p, o, _ in part.expected_rows()[table]}
        have = {(p, o) for p, o, _ in d.union_rows(engines, table)}
        if want - have or have - want:
            part.fail(f"{table}: {len(want - have)} missing, {len(have - want)} unknown")
    part.url = both


def refused(engines, part):
    """A server that says no in so many words, and has nothing of a range, is passed over without waiting for it."""
    first, second = engines
    for _ in range(4):
        part.run(1000, CH_RANGE_EVENTS=500)
    at_first = rows_of(first)
    for table in d.TABLES:  # more parts than it wants: code 252
        first.query(f"ALTER TABLE rt.{table} MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1")
    print(part.run(6000, CH_RANGE_EVENTS=500).strip())
    if rows_of(first) != at_first:
        part.fail("rows at the server that refuses them")
    if "has nothing of it" not in part.log_text() or "what follows goes to" in part.log_text():
        part.fail("a range that was refused had to wait for the server that had refused it")
    d.compare(engines, part, 9000)


def spoil(part, partition, offset):
    """Makes the header of the block with this record bad."""
    for path in sorted(glob.glob(os.path.join(part.folder, f"journal/p{partition}/seg-*.log"))):
        with open(path, "r+b") as f:
            data = f.read()
            at = data.find(b"SLUCBLK1")
            while at >= 0:
                first, count = struct.unpack_from("<QI", data, at + 88)
                if at % 4096 == 0 and first <= offset < first + count:
                    f.seek(at + 20)
                    f.write(b"xx")
                    return
                at = data.find(b"SLUCBLK1", at + 1)
    part.fail(f"no block has offset {offset} of partition {partition}")


def damaged(engines, part):
    """A range that waits for its server can be read no more: it is skipped, with its count, and all else goes on."""
    first, second = engines
    partition, start, end = leave_range(engines, part)
    want = part.expected_rows()
    spoil(part, partition, (start + end) // 2)
    first.start()
    part.run(0)
    if f"partition={partition} range={start}-{end} waited for 127.0.0.1:{first.http}" not in part.log_text() or \
            f"RECORDS SKIPPED: sink=clickhouse partition={partition} offsets={start}-{end - 1} " not in part.log_text():
        part.fail("nothing says that the range was skipped")
    for table in d.TABLES:
        have = [(p, o) for p, o, _ in d.union_rows(engines, table)]
        gone = {(p, o) for p, o in have if p == partition and start <= o < end}
        rest = {(p, o) for p, o, _ in want[table] if p != partition or not start <= o < end}
        if set(have) - gone != rest or (table != "alerts" and len(set(have)) != len(have)):
            part.fail(f"{table}: what was not damaged is not there once")
    part.run(1000)


SCENARIOS = {f.__name__: f for f in (switches, kills, points, lost, damaged, refused)}


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    engines = [d.Engine(sys.argv[1], *sys.argv[2:4]), d.Engine(sys.argv[1], *sys.argv[4:6])]
    part = d.Delivery(sys.argv[6], ",".join(e.url for e in engines))
    try:
        for engine in engines:
            engine.start()
        SCENARIOS[sys.argv[7]](engines, part)
        shutil.rmtree(part.folder)
    finally:
        for engine in engines:
            engine.stop()
            shutil.rmtree(engine.folder, ignore_errors=True)


main()
