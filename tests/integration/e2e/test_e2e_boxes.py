"""Two boxes into one ClickHouse: sluiced with node `a` and with node `b`, each with half of the traffic, into one
database; a third one with all of it into another. Four partitions each, a worker for each file: these are read at once,
so that many events come late and windows are revised.

Shown: what the views of the first database say, roll-ups too, is what those of the second say: counts, decimals and
distinct users exactly, doubles within 1e-9; both are what the box with all the traffic has in its own rows, sketches
within their bounds. The queries in docs/sketches.md and docs/clickhouse.md run as they stand there, and say the same
of both. Counts of the most frequent pages are, less their errors, at most those in the raw tables."""
import json
import math
import os
import re
import subprocess
import sys

from daemon import Daemon, file_ports
from rig import SOURCE, Rig

START = 1792000000000 // 3600000 * 3600000
EVENTS = 16000  # of each file; each box has two
VIEWS = "click, page_view"
WINDOWS = [
    {"name": "page_minute", "size": "1m", "by": "page, country", "types": VIEWS, "lateness": "1h", "rollup": "1h",
     "aggregates": "count, count(device=mobile) as mobile, distinct(user_id), quantiles(value), min(value), "
                   "max(value), error_rate"},
    {"name": "source_1m", "size": "1m", "by": "source", "types": "platform, log", "lateness": "1h", "rollup": "1h",
     "aggregates": "count, avg(metric), variance(metric), quantiles(metric), error_rate"},
    {"name": "pay", "kind": "hopping", "size": "5m", "slide": "1m", "by": "currency", "types": "transaction",
     "lateness": "1h",
     "aggregates": "count, sum(amount), min(amount), max(amount), distinct(user_id), quantiles(amount)"},
    {"name": "traffic", "size": "1m", "types": VIEWS, "lateness": "1h", "aggregates": "count, distinct(user_id), "
                                                                                    "top(page, 10)"},
]
END = START + 2 * 3600000
BEFORE_END = f"window_start < fromUnixTimestamp64Milli(toInt64({END}))"
GROUPS = {"page_minute_agg": ["page", "country"], "agg_source": ["source"], "pay_agg": ["currency"], "traffic_agg": [],
          "page_minute_agg_1h": ["page", "country"], "agg_source_1h": ["source"]}
EXACT = ("count", "mobile", "errors", "window", "sum_amount", "min_amount", "max_amount", "distinct_user_id")


def box(rig, node, database, files):
    """One with these files; then with one whose events close all windows."""
    daemon = Daemon(rig, node, [], sinks=False, time={"past_max": "0", "out_of_orderness": "5s", "tick": "1m"},
                    rules={"dir": ""}, clickhouse={"enabled": True, "url": rig.clickhouse.url, "database": database,
                                                   "range_age": "200ms", "timeout": "20s"})
    daemon.config["windows"] = WINDOWS
    for names in (files, ["end"]):
        daemon.config["ports"] = file_ports(*(rig.path(name + ".pcap") for name in names))
        daemon.config["worker"]["count"] = max(2, len(names))
        rig.expect(daemon.start() and daemon.wait_input_ended() and daemon.drain(), f"{node}: {names} delivered")
        if names == files:
            rig.expect(all(w["busy"] for w in workers(daemon)), f"{node}: every worker had events")
        daemon.stop_well(f"{node} {names}")
    return daemon


def workers(daemon):
    return [{"busy": w["frames"] > 0} for w in daemon.ctl("stats")["workers"]]


def rows_of(rig, database, sql):
    text = rig.clickhouse.query(sql.replace("rt.", database + ".") + " FORMAT JSONEachRow SETTINGS "
                                "output_format_json_quote_64bit_integers = 0, output_format_json_quote_decimals = 1")
    return [json.loads(line) for line in text.splitlines()]


def same(name, a, b):
    if isinstance(a, float) and isinstance(b, (float, int)) and name not in EXACT:
        return math.isclose(a, b, rel_tol=1e-9)
    return a == b


def compare(rig, what, a, b):
    differ = [(x, y) for x, y in zip(a, b) if x.keys() != y.keys() or any(not same(k, x[k], y[k]) for k in x)]
    rig.expect(a and len(a) == len(b) and not differ, f"{what}: {len(a)} rows of two boxes, {len(b)} of one, different "
               f"{differ[:1]}")


def check_views(rig):
    for table, group in GROUPS.items():
        order = ", ".join(["window_start", "other", *group])
        # One box gives up other rare pages than two do: check_top().
        columns = "* EXCEPT top_page" if table == "traffic_agg" else "*"
        sql = f"SELECT {columns} FROM rt.{table}_view WHERE {BEFORE_END} ORDER BY {order}"
        compare(rig, f"{table}_view", rows_of(rig, "boxes", sql), rows_of(rig, "one", sql))
        if table.endswith("_1h"):
            continue
        said = rows_of(rig, "boxes", "SELECT count() - uniqExact(_node, _epoch, _partition, _offset) AS twice, "
                                     f"uniqExact(_node) AS nodes, max(_revision) AS revision FROM rt.{table}")[0]
        rig.expect(said["twice"] == 0 and said["nodes"] == 2 and said["revision"] > 0,
                   f"{table}: each address once, both nodes, revised rows: {said}")


def near(row, mine):
    quantiles = [math.isclose(row[q], float(mine[q]), rel_tol=0.02) for q in ("p50_amount", "p95_amount", "p99_amount")]
    return row["count"] == mine["count"] and float(row["sum_amount"]) == float(mine["sum_amount"]) and \
        all(quantiles) and abs(row["distinct_user_id"] - mine["distinct_user_id"]) <= \
        max(2, mine["distinct_user_id"] * 0.04)


def check_own_rows(rig, daemon):
    """The last revisions in the box that has all, against the merged query over the others."""
    path, own = rig.path("own.jsonl"), {}
    subprocess.run([rig.program("sluicectl"), "replay", "--dir", daemon.data, "--out", path], check=True,
                   capture_output=True, timeout=120)
    with open(path, encoding="utf-8") as f:
        for row in map(json.loads, f):
            if row["window"] == "pay" and row["start_ms"] < END:
                own[(row["start_ms"], row["currency"] or "")] = row
    merged = {(r["at"], r["currency"]): r for r in rows_of(
        rig, "boxes", f"SELECT *, toUnixTimestamp64Milli(window_start) AS at FROM rt.pay_agg_view WHERE {BEFORE_END}")}
    wrong = [(merged[k], own[k]) for k in merged.keys() & own.keys() if not near(merged[k], own[k])]
    rig.expect(merged and merged.keys() == own.keys() and not wrong,
               f"the box with all events: {len(own)} rows are what the query over the two gives, sketches within their "
               f"bounds; different {wrong[:1]} {list(merged.keys() ^ own.keys())[:2]}")


def check_documented(rig):
    """They ask for all there is: what came behind the end, and is not closed in all boxes alike, goes before."""
    for database in ("boxes", "one"):
        for table in GROUPS:
            rig.clickhouse.query(f"ALTER TABLE {database}.{table} DELETE WHERE NOT {BEFORE_END} SETTINGS "
                                 "mutations_sync = 2")
    for page in ("sketches.md", "clickhouse.md"):
        with open(os.path.join(SOURCE, "docs", page), encoding="utf-8") as f:
            queries = re.findall(r"```sql\n(SELECT .*?)```", f.read(), re.S)
        rig.expect(queries, f"docs/{page} has queries")
        for sql in queries:
            sql = sql.replace("now()", "toDateTime(86400)").strip()  # these events are of the past
            sql += "" if "ORDER BY" in sql else " ORDER BY 1"
            said = [rows_of(rig, database, sql) for database in ("boxes", "one")]
            if "AS top\n" in sql:  # counts that are estimates differ: check_top() has them
                said = [[{"top": len(row["top"])} for row in rows] for rows in said]
            for rows in said:  # of equal counts any may come first
                rows.sort(key=lambda row: str(next(iter(row.values()))))
            compare(rig, f"docs/{page}: {sql[:40]!r}", *said)


def check_top(rig):
    """The true count of a page in a minute is count - error or more."""
    true = {(r["at"], r["page"]): r["n"] for r in rows_of(
        rig, "boxes", "SELECT toInt64(toUnixTimestamp64Milli(ts) / 60000) * 60000 AS at, page, count() AS n FROM "
        "(SELECT ts, page FROM rt.clicks_raw UNION ALL SELECT ts, page FROM rt.events_raw WHERE type = 'page_view') "
        "GROUP BY at, page")}
    wrong, found = [], 0
    for row in rows_of(rig, "boxes", "SELECT toUnixTimestamp64Milli(window_start) AS at, sumMap(top_page) AS s, "
                                     f"sumMap(top_page_error) AS e FROM rt.traffic_agg WHERE {BEFORE_END} GROUP BY at"):
        errors = dict(zip(*row["e"]))
        for page, count in zip(*row["s"]):
            n = true.get((row["at"], page), 0)
            found += 1
            wrong += [(row["at"], page, count, n)] if count - errors.get(page, 0) > n else []
    rig.expect(found > 100 and not wrong, f"frequent pages: {found} counts less their errors are at most the true ones "
               f"{wrong[:3]}")


def main():
    with Rig(sys.argv[1], clickhouse=True) as rig:
        for n, name in enumerate(("a0", "a1", "b0", "b1", "end")):
            end = name == "end"
            rig.gen_run(name, pcap=rig.path(name + ".pcap"), count=4000 if end else EVENTS, seed=rig.seed + n,
                        users=900, pages=60, mix="click=3,page_view=2,platform=2,transaction=3", ts_rate=40,
                        disorder_ms=4000, start_ts=START + 4 * 3600000 if end else START, events_per_datagram=4)
        box(rig, "a", "boxes", ["a0", "a1"])
        box(rig, "b", "boxes", ["b0", "b1"])
        one = box(rig, "one", "one", ["a0", "a1", "b0", "b1"])
        check_views(rig)
        check_own_rows(rig, one)
        check_documented(rig)
        check_top(rig)
    rig.done()


main()
