"""Exactly once from the output log to a real engine: test_rows.py CHEMBED HTTP TCP CH_ROWS_DELIVER SCENARIO"""
import os
import random
import re
import shutil
import signal
import subprocess
import time

import delivery as d

POINTS = ("ch_intent", "ch_sent", "ch_answered", "ch_marked")
TABLES = ("pages_agg", "visits", "buy", "pages_old_agg", "alerts", "events_late")
ADDS = ("pages_agg", "pages_old_agg")  # tables whose rows add up


def expected_rows(part):
    out = subprocess.run([part.program, "rows", part.folder], check=True, capture_output=True, text=True).stdout
    rows, sums = {table: [] for table in TABLES}, {table: 0 for table in TABLES}
    for line in out.splitlines():
        table, partition, offset, adds = line.split("\t")
        rows[table].append((int(partition), int(offset)))
        sums[table] += int(adds)
    return rows, sums


def number(engine, sql):
    return int(engine.query(sql + " FORMAT TabSeparated"))


def compare(engine, part, at_least):
    """Each record that the log demands is at the server once; what adds up gives the sum, also in the roll-up."""
    expected, sums = expected_rows(part)
    sizes = []
    for table in TABLES:
        text = engine.query(f"SELECT _partition, _offset FROM rt.{table} FORMAT TabSeparated")
        have = [tuple(map(int, line.split("\t"))) for line in text.splitlines()]
        want = expected[table]
        missing, extra = set(want) - set(have), set(have) - set(want)
        if missing or extra or len(have) != len(want):
            part.fail(f"{table}: {len(want)} expected, {len(have)} found; missing {sorted(missing)[:3]}, unknown "
                      f"{sorted(extra)[:3]}")
        sizes.append(f"{table}={len(have)}")
        if table in ADDS:
            counted = number(engine, f"SELECT sum(count) FROM rt.{table}")
            if counted != sums[table]:
                part.fail(f"{table}: counts add up to {counted}, expected {sums[table]}")
    rolled, whole = number(engine, "SELECT sum(count) FROM rt.pages_agg_1h"), sums["pages_agg"]
    if rolled != whole:
        part.fail(f"the roll-up counts {rolled}, its table {whole}")
    viewed = number(engine, "SELECT sum(count) FROM rt.pages_agg_view")
    if viewed != whole:
        part.fail(f"the view counts {viewed}, its table {whole}")
    print("log and server agree:", " ".join(sizes))
    if sum(len(rows) for rows in expected.values()) < at_least:
        part.fail(f"fewer than {at_least} rows")


def points(engine, part):
    """Killed at each durable step, early and late, one after the other on one log."""
    for count in (1, 3, 9):
        for point in POINTS:
            part.run(900, expected=-signal.SIGKILL, SLUICE_CRASH=f"{point}:{count}", CH_RANGE_EVENTS=150)
    out = part.run(0)
    print(out.strip())
    compare(engine, part, 5000)
    if "rows=0 late=0 alerts=0 " not in part.run(0):
        part.fail("delivered again")


def kills(engine, part):
    """Killed at random while it feeds and delivers; the engine, too."""
    rng = random.Random(int(os.environ.get("SLUICE_SEED", "1")))
    killed = 0
    while killed < 12:
        process = part.start(1000000, CH_RANGE_EVENTS=rng.choice((50, 500, 5000)), CH_FEED_PAUSE_MS=10,
                             CH_TIMEOUT_MS=3000)
        try:
            process.stdout.readline()
            time.sleep(rng.uniform(0.05, 1.2))
            if killed % 4 == 3:
                engine.crash()
                time.sleep(0.3)
        finally:
            process.kill()
            process.communicate()
        killed += process.returncode == -signal.SIGKILL
    print(f"{killed} kills; last run: {part.run(1000).strip()}")
    compare(engine, part, 2000)


def forgets(engine, part):
    """Blocks that the server has lost and whose tokens it has kept are put back, once, and no view counts twice."""
    d.forgets(engine, part, TABLES, "clickhouse-output", CH_RANGE_EVENTS=150)
    compare(engine, part, 5000)


def sums(engine, part):
    """A table of another engine, whose rows merge, addresses and all: that one is not there says nothing."""
    part.run(500)
    made = engine.query("SHOW CREATE TABLE rt.pages_agg FORMAT TSVRaw")
    engine.query("DROP TABLE rt.pages_agg_1h_mv SYNC")
    engine.query("TRUNCATE TABLE rt.pages_agg_1h")
    engine.query("DROP TABLE rt.pages_agg SYNC")
    made = made.replace("ENGINE = MergeTree", "ENGINE = SummingMergeTree", 1)
    engine.query(re.sub(r"ORDER BY \(.*?\)\n", "ORDER BY (window, page)\n", made))
    other = d.Delivery(part.program, engine.url)
    other.run(900, CH_RANGE_EVENTS=150)
    for count in (5, 10, 15, 20, 25):
        other.run(900, expected=-signal.SIGKILL, SLUICE_CRASH=f"ch_answered:{count}", CH_RANGE_EVENTS=150)
        engine.query("OPTIMIZE TABLE rt.pages_agg FINAL")
    other.run(0)
    want, have = expected_rows(other)[1]["pages_agg"], number(engine, "SELECT sum(count) FROM rt.pages_agg")
    print(f"sum {have} of {want}")
    if have != want:
        part.fail(f"counts add up to {have}, expected {want}")
    shutil.rmtree(other.folder)


d.scenario_run(points, kills, forgets, sums)
