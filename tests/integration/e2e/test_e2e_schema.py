"""Windows change, and ClickHouse's tables do not: sluiced with two windows that have roll-ups, and a third one; then
with another group and other aggregates in both (no Kafka).

Shown: `sluicectl schema clickhouse --diff` has nothing to say of tables that fit. Of those that do not the sink says
the first fault, how many more there are, and that command, once a minute, and the input goes on. What the command
prints is run as it stands, once: then nothing is left to say, delivery goes on without a restart and within seconds,
each row of the offline replay is there once, of both definitions, and roll-ups have what their tables have. What needs
a decision is a comment, and an exit code."""
import collections
import json
import subprocess
import sys
import time

from daemon import Daemon, file_ports
from rig import Rig, say, wait_until

START = 1792000000000 // 3600000 * 3600000
DATABASE = "grow"
VIEWS = "click, page_view"
PAGES = {"name": "page_minute", "size": "1m", "by": "page", "types": VIEWS, "rollup": "1h,1d", "aggregates": "count"}
PAY = {"name": "pay", "size": "1m", "by": "currency", "types": "transaction", "rollup": "1h",
       "aggregates": "count, sum(amount)"}
REST = {"name": "rest", "size": "1m", "types": "platform", "aggregates": "count"}
CHANGED = [dict(PAGES, by="page, country", aggregates="count, count(device=mobile) as mobile, distinct(user_id)"),
           dict(PAY, aggregates="count, sum(amount), max(amount), quantiles(amount)"), REST]
TABLES = {"page_minute": ["page_minute_agg", "page_minute_agg_1h", "page_minute_agg_1d"],
          "pay": ["pay_agg", "pay_agg_1h"], "rest": ["rest_agg"]}


def diff(rig, config, *words):
    done = subprocess.run([rig.program("sluicectl"), "schema", "clickhouse", "--diff", "--config", config, *words],
                          capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def parts(daemon, sink):
    return [s for s in (daemon.ctl("sinks") or {}).get("sinks", []) if s["sink"] == sink]


def outputs(daemon):
    """Partitions of the sink of windows' rows."""
    return parts(daemon, "clickhouse-output")


def number(rig, sql):
    return int(rig.clickhouse.query(sql.replace("rt.", DATABASE + ".") + " FORMAT TabSeparated"))


def check_refusal(rig, daemon):
    """Looks go on, and the log has each partition's error once."""
    rig.expect(wait_until(lambda: outputs(daemon) and all(s["errors"] > 2 for s in outputs(daemon)), 60,
                          "three looks of each partition"), "the sink of windows' rows does not fit its tables")
    said = {s["error"] for s in outputs(daemon)}
    first = min(said).split(" is missing; run: ALTER TABLE ")[0]
    rig.expect(len(said) == 1 and first.startswith("clickhouse: table grow.pa") and ", and 7 more: " in min(said) and
               "sluicectl schema clickhouse --diff" in min(said), f"it says so: {said}")
    lines = collections.Counter(line.split("partition=")[1].split()[0] for line in rig.text(daemon.log).splitlines()
                                if first in line and "partition=" in line)
    rig.expect(len(lines) == len(outputs(daemon)) and max(lines.values()) == 1, f"the log has it once each: {lines}")
    rig.expect(wait_until(lambda: not any(s["lag_events"] for s in parts(daemon, "clickhouse")), 60, "the input's end"),
               "events are delivered meanwhile")
    rig.expect(number(rig, "SELECT count() FROM rt.rest_agg") == rig.rows_before, "no window's rows are")


def mend(rig, daemon, config):
    code, sql, said = diff(rig, config)
    words = [" ".join(x.split()[:3]) for x in sql.splitlines() if x.startswith(("ALTER", "CREATE", "DROP"))]
    kinds = collections.Counter(" ".join(x.split()[:2]) for x in words)
    rig.expect(code == 0 and not said and kinds == {"ALTER TABLE": 5, "DROP VIEW": 3, "CREATE MATERIALIZED": 3,
                                                    "CREATE OR": 5}, f"statements: {dict(kinds)} {said}")
    for statement in sql.split(";\n"):
        if statement.strip():
            rig.clickhouse.query(statement)
    began = time.monotonic()
    rig.expect(diff(rig, config) == (0, "", ""), "then nothing is left to say")
    rig.expect(wait_until(lambda: all(s["state"] == "running" for s in outputs(daemon)), 25, "delivery"),
               f"delivery goes on after {time.monotonic() - began:.1f} s")


def check_rows(rig, daemon):
    """The log's rows, of both definitions, against tables and roll-ups."""
    path, rows, last = rig.path("rows.jsonl"), collections.Counter(), {}
    subprocess.run([rig.program("sluicectl"), "replay", "--dir", daemon.data, "--out", path], check=True,
                   capture_output=True, timeout=120)
    with open(path, encoding="utf-8") as f:
        for row in map(json.loads, f):
            window = row["window"]
            rows[window] += 1
            last[(window, row["start_ms"], row["other"], row.get("page"), row.get("country"),
                  row.get("currency"))] = row["count"]
    for window, tables in TABLES.items():
        want = sum(count for key, count in last.items() if key[0] == window)
        have = number(rig, f"SELECT count() FROM rt.{tables[0]}")
        once = number(rig, f"SELECT uniqExact(_node, _epoch, _partition, _offset) FROM rt.{tables[0]}")
        sums = [number(rig, f"SELECT sum(count) FROM rt.{table}") for table in tables]
        definitions = number(rig, f"SELECT uniqExact(_definition) FROM rt.{tables[0]}")
        rig.expect(have == once == rows[window] and sums == [want] * len(tables) and
                   definitions == 1 + (window != "rest"),
                   f"{window}: {have} rows of {definitions} definitions, {once} addresses, replay has {rows[window]}; "
                   f"counts add up to {sums}, replay's to {want}")
    for tables, value in ((TABLES["page_minute"], "sum(mobile)"), (TABLES["pay"], "count(max_amount) > 0"),
                          (TABLES["page_minute"], "uniqExact(country)")):
        have = {number(rig, f"SELECT {value} FROM rt.{table}") for table in tables}
        rig.expect(len(have) == 1 and min(have) > 0, f"new columns in table and roll-ups: {value} {have}")
    for view in ("page_minute_agg", "page_minute_agg_1h", "page_minute_agg_1d"):
        rig.expect(number(rig, f"SELECT countIf(distinct_user_id > 0 AND mobile > 0) FROM rt.{view}_view") > 0,
                   f"{view}_view has the new values")


def check_decision(rig, config):
    rig.clickhouse.query(f"ALTER TABLE {DATABASE}.alerts MODIFY COLUMN title String")
    code, sql, said = diff(rig, config)
    rig.expect(code == 1 and all(x.startswith("--") or not x for x in sql.splitlines()) and
               "column title has type String, expected LowCardinality(String)" in sql and "need a decision: 1" in said,
               f"a column of another type needs a decision: {sql.strip()} / {said.strip()}")
    code, _, said = diff(rig, config, "--server", "elsewhere:1")
    rig.expect(code == 1 and "elsewhere:1" in said, f"a server that is not in clickhouse.url: {said.strip()}")


def main():
    with Rig(sys.argv[1], clickhouse=True) as rig:
        for n, name in enumerate(("old", "new")):
            rig.gen_run(name, pcap=rig.path(name + ".pcap"), count=16000, seed=rig.seed + n, users=300, pages=20,
                        mix="click=3,page_view=2,platform=2,transaction=3", ts_rate=40,
                        start_ts=START + n * 4 * 3600000, events_per_datagram=4)
        daemon = Daemon(rig, "grow", file_ports(rig.path("old.pcap")), sinks=False, rules={"dir": ""},
                        time={"past_max": "0", "out_of_orderness": "5s", "tick": "1m"},
                        clickhouse={"enabled": True, "url": rig.clickhouse.url, "database": DATABASE,
                                    "range_age": "200ms", "timeout": "20s"})
        daemon.config["windows"] = [PAGES, PAY, REST]
        config = daemon.write_config()
        code, sql, said = diff(rig, config)
        rig.expect(code == 0 and sql.count("CREATE TABLE") > 8 and not said, "all is missing before the first start")
        rig.expect(daemon.start() and daemon.wait_input_ended() and daemon.drain(), "delivered under the old windows")
        rig.expect(diff(rig, config) == (0, "", ""), "its tables fit: nothing to say")
        daemon.stop_well("old")
        rig.rows_before = number(rig, "SELECT count() FROM rt.rest_agg")
        say(f"rows of `rest` before the change: {rig.rows_before}")
        daemon.config["windows"] = CHANGED
        daemon.config["ports"] = file_ports(rig.path("new.pcap"))
        rig.expect(daemon.start() and daemon.wait_input_ended(), "started with other windows")
        check_refusal(rig, daemon)
        mend(rig, daemon, config)
        rig.expect(daemon.drain(), "all is delivered")
        daemon.expect_balanced("grow")
        daemon.stop_well("grow")
        check_rows(rig, daemon)
        check_decision(rig, config)
    rig.done()


main()
