"""Rows of windows, alerts and late events in every place where they must be, against an offline replay of the journal
that survived.

`sluicectl replay --rows merged` prints rows in the order of their offsets in the output log's last partition, where
marks, whose number replay says, have offsets, too. So the n-th address that Kafka has must be that of the n-th line,
text against text; ClickHouse and what the log still has must know the same addresses."""
import collections
import decimal
import json
import os
import re
import subprocess
import time

from rig import wait_until

PARTITIONS = 4
# Whose definition a test changes: what replaces it begins anew; and one like it that stays.
CHANGING, STAYING = "extra", "still"
WINDOWS = [
    {"name": "pages", "size": "1s", "by": "page", "types": "click, page_view",
     "aggregates": "count, distinct(user_id), quantiles(value), first(page), avg(value)",
     "anomaly": "zscore(count, 5, 1.5)"},
    {"name": "pay", "size": "2s", "by": "country, currency", "types": "transaction", "lateness": "3s",
     "rollup": "1h,1d", "aggregates": "count, sum(amount), max(amount), quantiles(amount), top(user_id, 3)"},
    {"name": "load", "kind": "hopping", "size": "4s", "slide": "1s", "by": "source",
     "aggregates": "count, avg(metric), variance(metric), distinct(user_id)"},
    {"name": "visits", "kind": "session", "gap": "1s", "by": "user_id",
     "types": "click, page_view, session, conversion",
     "aggregates": "count, first(page), last(page), count(type=click) as clicks"},
    {"name": "buy", "kind": "funnel", "size": "2s", "within": "1s", "by": "user_id",
     "steps": "view: type = page_view; click: type = click; session: type = session",
     "aggregates": "count, conversion_rate"},
    {"name": "pods", "size": "2s", "types": "log, platform",
     "by": "source, attributes.request.pod, attributes.http.status_code, attributes.status",
     "aggregates": "count, distinct(user_id)"},
    {"name": CHANGING, "size": "1s", "by": "country", "aggregates": "count, sum(amount)"},
    {"name": STAYING, "size": "1s", "by": "country", "aggregates": "count, sum(amount)"},
]
GROUPS = {"pages": ["page"], "pay": ["country", "currency"], "load": ["source"], "visits": ["user_id"],
          "pods": ["source", "attributes.request.pod", "attributes.http.status_code", "attributes.status"],
          "buy": ["step"], CHANGING: ["country"], STAYING: ["country"]}
ADDS = ("pages", "pay", "load", "pods", CHANGING, STAYING)  # in ClickHouse: differences, which add up


def windows_config(version):
    """One definition is another one in each version, of the same shape."""
    return [dict(w, keys_max=1000 + version) if w["name"] == CHANGING else w for w in WINDOWS]


def rules_without_state(rig):
    """A section `rules`: what rules with state put into the output log is in tests of their own (alerts.py)."""
    os.makedirs(rig.path("rules"), exist_ok=True)
    with open(rig.path("rules", "single.yaml"), "w", encoding="ascii") as f:
        f.write("rules:\n- {id: headless, when: {type: click, page: {contains: HeadlessChrome}}, then: [alert, tag]}\n"
                "- {id: sqli, when: {type: click, page: {regex: 'union.{1,4}select'}}, then: alert}\n"
                "- {id: fault, when: {type: telemetry, status: FAULT}, then: [alert]}\n")
    return {"dir": rig.path("rules")}


def messages(rig, topic):
    """(headers, key, value) of what read-committed readers see, in the order of each partition; by lengths, because
    keys may hold any character."""
    kcat = ["kcat", "-b", rig.kafka.brokers, "-X", "isolation.level=read_committed", "-C", "-t", topic, "-e", "-q"]
    out = subprocess.run([*kcat, "-f", "%h\\n%K %S\\n%k%s\\n"], capture_output=True, timeout=240, check=True).stdout
    found, at = [], 0
    while at < len(out):
        end = out.index(b"\n", at)
        headers = dict(h.split("=", 1) for h in out[at:end].decode().split(","))
        at, end = end + 1, out.index(b"\n", end + 1)
        key, value = (max(int(n), 0) for n in out[at:end].split())
        at = end + 1
        found.append((headers, out[at:at + key], out[at + key:at + key + value]))
        at += key + value + 1
    return found


def stopped(daemon):
    """What says in the log that a partition has stopped."""
    return re.findall(r".*(?:STATE STOPPED|REPLAY DIFFERS).*", log_of(daemon))


def log_of(daemon):
    return daemon.rig.text(daemon.log)


def state_of(daemon):
    return daemon.ctl("windows") or {}


def step_ms(daemon):
    """Event time up to which the merge has come."""
    text = (state_of(daemon).get("merge") or {}).get("up_to")
    if not text:
        return 0
    seconds, _, rest = text.rstrip("Z").partition(".")
    whole = time.strptime(seconds, "%Y-%m-%dT%H:%M:%S")
    return int((time.mktime(whole) - time.timezone) * 1000) + int((rest or "0").ljust(3, "0")[:3])


def settle(rig, daemon, until_ms):
    """Input over, windows closed up to there, everything delivered. Where nobody sends, event time goes on by the
    clock."""
    rig.expect(wait_until(lambda: step_ms(daemon) >= until_ms, 150, "the last windows", step=0.3),
               "windows close while nothing comes")
    rig.expect(daemon.drain(), "everything is delivered")  # never quiet: ticks and marks go on
    status = state_of(daemon)
    parts = status.get("partitions", [])
    rig.expect(len(parts) == PARTITIONS and all(p["state"] == "running" and not p["mismatches"] for p in parts) and
               status["merge"]["state"] == "running", f"every partition runs: {[p['state'] for p in parts]}")
    daemon.expect_balanced("drained")


class Windows:
    """What there must be, and the comparisons. sluiced must not run."""

    def __init__(self, rig, daemon, feeder):
        self.rig, self.daemon, self.feeder = rig, daemon, feeder
        self.name = daemon.name
        journal = self.ctl("journal", "ls", "--dir", os.path.join(daemon.data, "output"))
        self.epoch = journal["epoch"]
        path = rig.path("replay.jsonl")
        self.summary = self.ctl("replay", "--dir", daemon.data, "--rows", "merged", "--out", path)
        with open(path, "rb") as f:
            self.lines = f.read().split(b"\n")[:-1]
        self.rows = [json.loads(line, parse_float=decimal.Decimal) for line in self.lines]
        self.places = []  # of the lines: their offsets
        self.late_count = sum(log["late"] for log in self.summary["logs"])

    def ctl(self, *words):
        done = subprocess.run([self.rig.program("sluicectl"), "--json", *words], capture_output=True, text=True,
                              timeout=240, check=False)
        if done.returncode:
            raise RuntimeError(f"sluicectl {words}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def key(self, row):
        group = tuple(row[g] for g in GROUPS[row["window"]])
        return (row["window"], row["start_ms"], row["end_ms"], group, row["other"])

    def address(self, partition, offset):
        return f"{self.name}/{self.epoch}/{partition}/{offset}"

    # ---- the reference itself ----

    def check_reference(self, least, late):
        """Each kind of row occurs; revisions of a key are 0, 1, 2, ... late: there are late events and revised rows, or
        none."""
        kinds, revisions, wrong = collections.Counter(), collections.Counter(), []
        for row in self.rows:
            kinds["alert" if "alert_id" in row else row["window"]] += 1
            if "alert_id" in row:
                continue
            key = self.key(row)
            if row["revision"] != revisions[key]:
                wrong.append(row)
            revisions[key] += 1
        again = sum(n > 1 for n in revisions.values())
        self.rig.expect(not self.summary["faults"] and not wrong, "replay: revisions of each window and group are 0, "
                        f"1, 2, ... {wrong[:2] or ''}{self.summary['faults'] or ''}")
        self.rig.expect(len(kinds) == len(WINDOWS) + 1 and len(self.rows) >= least and
                        bool(again) == late and bool(self.late_count) == late,
                        f"replay: {len(self.rows)} rows and alerts {dict(kinds)}, {again} revised, "
                        f"{self.late_count} late events")

    def check_whole(self):
        """Whatever definition is in force, a window that comes out has what the one has that stays: no partition's
        share is missing, and it comes once."""
        have, want, twice = {}, {}, 0
        for row in self.rows:
            to = {CHANGING: have, STAYING: want}.get(row.get("window")) if "alert_id" not in row else None
            if to is not None:
                key = (row["start_ms"], row["country"] is None, row["country"] or "", row["other"])
                twice += key in to
                to[key] = (row["count"], row["sum_amount"])
        starts = {key[0] for key in have}
        missing = {key[0] for key in want} - starts
        self.expect_same(f"whole: {len(starts)} windows of {CHANGING}, {len(missing)} were left out", have,
                         {key: row for key, row in want.items() if key[0] in starts}, twice)

    # ---- the output log ----

    def dump(self, partition):
        """Lines of the output log's records."""
        done = subprocess.run([self.rig.program("sluicectl"), "--json", "journal", "dump", "--dir",
                               os.path.join(self.daemon.data, "output"), "--partition", str(partition)],
                              capture_output=True, text=True, timeout=240, check=True)
        return done.stdout.splitlines()

    def check_places(self):
        """Addresses in Kafka against what the output log still has: a mark is of no type, a row is."""
        found, begin = set(), None
        for line in self.dump(PARTITIONS):
            record = json.loads(line)
            begin = record["offset"] if begin is None else begin
            if record["type"]:
                found.add(record["offset"])
        want = {p for p in self.places if begin is not None and p >= begin}
        self.rig.expect(found == want and found, f"addresses: {len(found)} rows that the output log still has, from "
                        f"offset {begin} on, {len(want)} in Kafka, differing {sorted(found ^ want)[:3]}")

    def check_output_log(self):
        """Each of its records, byte for byte; no gap, none missing, none more."""
        done = subprocess.run([self.feeder, "check", self.daemon.data], capture_output=True, text=True, timeout=240,
                              check=False)
        self.rig.expect(done.returncode == 0 and "complete=1" in done.stdout and "damaged=0" in done.stdout,
                        f"output log = offline replay: {done.stdout.strip()} {done.stderr.strip()[-300:]}")

    # ---- Kafka ----

    def check_kafka(self):
        have, twice, order, seen = {}, [], [], collections.Counter()
        topics = [f"{self.name}.window.{w['name']}" for w in WINDOWS] + [self.name + ".alerts"]
        for topic in topics:
            for headers, group, value in messages(self.rig, topic):
                node, epoch, partition, offset = headers["sluice-address"].split("/")
                if topic.endswith(".alerts") and epoch != self.epoch:
                    continue  # of a rule: its address is that of the event
                place = (node, epoch, int(partition), int(offset))
                twice += [place] if place in have else []
                have[place] = (topic, value)
                row = json.loads(value, parse_float=decimal.Decimal)
                if "alert_id" in row:
                    continue
                key = self.key(row)
                if row["revision"] != seen[key] or headers["revision"] != str(row["revision"]) or \
                        headers["window"] != row["window"] or row["node"] != self.name or \
                        group.decode() != "|".join(part or "" for part in key[3]):
                    order.append((headers, row))
                seen[key] += 1
        merged = self.summary["logs"][PARTITIONS]
        want = [(self.topic(row), line) for row, line in zip(self.rows, self.lines)]
        differ = [(p, have[p], w) for p, w in zip(sorted(have), want) if have[p] != w]
        strange = [p for p in have if p[:3] != (self.name, self.epoch, PARTITIONS) or p[3] >= merged["emitted"]]
        self.places = [p[3] for p in sorted(have)]
        self.rig.expect(len(have) == len(want) == merged["emitted"] - merged["marks"] and not differ and not twice and
                        not strange, f"Kafka = offline replay: {len(have)} of {len(want)} messages beside "
                        f"{merged['marks']} marks, twice {twice[:3]}, strange {strange[:3]}, differing {differ[:2]}")
        self.rig.expect(not order, "Kafka: revisions of a key in order, headers and keys as the rows "
                        f"{order[:2] or ''}")

    def topic(self, row):
        return self.name + (".alerts" if "alert_id" in row else ".window." + row["window"])

    # ---- ClickHouse ----

    def query(self, sql):
        text = self.rig.clickhouse.query(sql + " FORMAT JSONEachRow "
                                               "SETTINGS output_format_json_quote_64bit_integers = 0")
        return [json.loads(line) for line in text.splitlines()]

    def table_have(self, window):
        """offset -> what the table says, and how often an offset is there again."""
        table = window + ("_agg" if window in ADDS else "")
        sums = "toString(sum_amount)" if window in ("pay", CHANGING, STAYING) else "''"
        have, twice = {}, 0
        for r in self.query(f"SELECT *, {sums} AS s, toUnixTimestamp64Milli(window_start) AS a, "
                            f"toUnixTimestamp64Milli(window_end) AS b FROM {self.name}.{table}"):
            twice += r["_offset"] in have or r["_partition"] != PARTITIONS or r["_node"] != self.name or \
                r["_epoch"] != int(self.epoch, 16)
            more = [r["first_page"], r["last_page"], r["clicks"]] if window == "visits" else []
            have[r["_offset"]] = (r["a"], r["b"], *(r[g] for g in GROUPS[window]), r["other"], r["_cut"],
                                  r["_revision"], r["count"], decimal.Decimal(r["s"] or 0), *more)
        return have, twice

    def table_want(self, window):
        """offset -> the same of the reference: differences to the revision before, where rows add up."""
        want, before = {}, collections.defaultdict(lambda: (0, decimal.Decimal(0)))
        for offset, row in zip(self.places, self.rows):
            if "alert_id" in row or row["window"] != window:
                continue
            key = self.key(row)
            now = (row["count"], decimal.Decimal(row.get("sum_amount") or 0))
            last = before[key] if window in ADDS and row["revision"] else (0, decimal.Decimal(0))
            before[key] = now
            more = [row["first_page"] or "", row["last_page"] or "", row["clicks"]] if window == "visits" else []
            want[offset] = (row["start_ms"], row["end_ms"], *(row[g] or "" for g in GROUPS[window]), int(row["other"]),
                            int(row["cut"]), row["revision"], now[0] - last[0], now[1] - last[1], *more)
        return want

    def expect_same(self, what, have, want, twice):
        differ = [(k, have[k], want[k]) for k in want if k in have and have[k] != want[k]]
        self.rig.expect(have == want and not twice, f"{what}: {len(have)} of {len(want)}, missing "
                        f"{sorted(want.keys() - have.keys())[:3]}, unknown {sorted(have.keys() - want.keys())[:3]}, "
                        f"twice {twice}, differing {differ[:2]}")

    def check_clickhouse(self):
        for window in GROUPS:
            have, twice = self.table_have(window)
            self.expect_same(f"ClickHouse = offline replay, window {window}", have, self.table_want(window), twice)
        self.check_views()
        self.check_rollups()
        rows = self.query("SELECT _partition AS p, _offset AS o, toString(alert_id) AS id, window "
                          f"FROM {self.name}.alerts WHERE _epoch = {int(self.epoch, 16)}")
        have = {r["o"]: (r["id"], r["window"]) for r in rows}
        want = {n: (row["alert_id"], row["window"]) for n, row in zip(self.places, self.rows)
                if "alert_id" in row}
        self.expect_same("ClickHouse = offline replay, alerts", have, want,
                         len(rows) - len(have) + sum(r["p"] != PARTITIONS for r in rows))

    def check_views(self):
        """Views, which merge what adds up, against the highest revisions."""
        for window, value in (("pages", "distinct_user_id"), ("pay", "sum_amount"), ("load", "distinct_user_id"),
                              ("pods", "distinct_user_id")):
            want = {}
            for row in self.rows:
                if "alert_id" not in row and row["window"] == window:
                    group = tuple(row[g] or "" for g in GROUPS[window])
                    want[(row["start_ms"], group, int(row["other"]))] = (row["count"], decimal.Decimal(row[value] or 0))
            have = {}
            for r in self.query(f"SELECT *, toUnixTimestamp64Milli(window_start) AS a, toString({value}) AS v "
                                f"FROM {self.name}.{window}_agg_view"):
                group = tuple(r[g] for g in GROUPS[window])
                have[(r["a"], group, r["other"])] = (r["count"], decimal.Decimal(r["v"] or 0))
            if value.startswith("distinct"):  # rows of few values count them, registers estimate: 0.81 %
                for key in have.keys() & want.keys():
                    if abs(have[key][1] - want[key][1]) <= max(2, want[key][1] / 25):
                        have[key] = (have[key][0], want[key][1])
            self.expect_same(f"{window}_agg_view = highest revisions", have, want, 0)

    def check_rollups(self):
        """Hours and days against the highest revisions of all that lies in them."""
        last = {self.key(row): row for row in self.rows if row.get("window") == "pay" and "alert_id" not in row}
        for size, ms in (("1h", 3600000), ("1d", 86400000)):
            want = {}
            for (_, start, _, group, other), row in last.items():
                key = (start - start % ms, start - start % ms + ms, tuple(g or "" for g in group), int(other))
                count, total, most = want.get(key, (0, decimal.Decimal(0), None))
                amounts = [x for x in (most, row["max_amount"]) if x is not None]
                want[key] = (count + row["count"], total + decimal.Decimal(row["sum_amount"] or 0),
                             max(amounts, default=None))
            have = {(r["a"], r["b"], (r["country"], r["currency"]), r["other"]):
                    (r["count"], decimal.Decimal(r["s"] or 0), r["m"] and decimal.Decimal(r["m"])) for r in self.query(
                        "SELECT *, toString(sum_amount) AS s, toString(max_amount) AS m, toUnixTimestamp64Milli("
                        "window_start) AS a, toUnixTimestamp64Milli(window_end) AS b "
                        f"FROM {self.name}.pay_agg_{size}_view")}
            self.expect_same(f"pay_agg_{size}_view = sum of highest revisions", have, want, 0)

    # ---- late events ----

    def check_late(self):
        kafka, table, twice = {}, {}, 0
        for headers, _, value in messages(self.rig, self.name + ".late"):
            node, epoch, partition, offset = headers["sluice-address"].split("/")
            place = (int(partition), int(offset))
            twice += place in kafka or (node, epoch) != (self.name, self.epoch)
            kafka[place] = (headers["window"], headers["input-address"].split("/", 2)[2], value.decode())
        self.rig.expect(len(kafka) == self.late_count and not twice,
                        f"late events in Kafka: {len(kafka)}, replay says {self.late_count}, twice {twice}")
        rows = self.query(f"SELECT * FROM {self.name}.events_late")
        for r in rows:
            source = f"{r['_input_partition']}/{r['_input_offset']}"
            table[(r["_partition"], r["_offset"])] = (r["window"], source, r["raw"])
        self.expect_same("late events: ClickHouse = Kafka", table, kafka, len(rows) - len(table))
        sources = collections.Counter(source for _, source, _ in kafka.values())
        self.rig.expect(not sources or max(sources.values()) == 1, "late events: each event of the journal once")
        self.check_late_log(kafka)

    def check_late_log(self, kafka):
        """Against what the output log still has: a late event is its only record with an event id."""
        found, begin = {}, {}
        for p in range(PARTITIONS):
            for line in self.dump(p):
                if p not in begin:
                    begin[p] = json.loads(line)["offset"]
                if not re.search(r'"event_id": ?"0{8}-', line):
                    r = json.loads(line)
                    found[(p, r["offset"])] = r["event_id"]
        want = {place: json.loads(late[2]).get("event_id") for place, late in kafka.items()
                if place[1] >= begin.get(place[0], 0)}
        strange = [p for p in found.keys() | want.keys() if p not in found or p not in want or
                   (want[p] and want[p].lower() != found[p])]
        self.rig.expect(not strange, f"late events: {len(found)} that the output log still has are those in Kafka "
                        f"{strange[:3] or ''}")

    def check_all(self, least=1, late=True):
        self.check_reference(least, late)
        self.check_whole()
        self.check_output_log()
        self.check_kafka()
        self.check_places()
        self.check_clickhouse()
        self.check_late()
