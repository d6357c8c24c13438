"""The state stage against Apache Flink on the same events: a capture file goes through sluiced (parse, deduplicate,
journal), the journal is exported for Flink and replayed by `sluicectl replay`, and the rows are compared.

    test_equality.py BUILD_DIR [EVENTS]

Without late events at P = 4, where the result does not depend on the order between partitions; with late events at
P = 1, where Flink sees the same order as one split with a watermark after each record: then the sets of late events are
equal, too, those of each window and those of all.

Roll-ups: events come up to a minute back, so that minutes are revised, and the last revisions add up to Flink's hours
and days; a window of a day says the same. The last day is not over: no row says that it is."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import flink  # noqa: E402  (needs the path above)
from compare import Comparison, closed_until, ours, rolled  # noqa: E402
from daemon import Daemon, file_ports, yaml_of  # noqa: E402
from rig import Rig, skip  # noqa: E402

BOUND_MS, ALL_MS = 10000, 10 ** 9
VALUES = "count, sum({0}), min({0}), max({0}), distinct(user_id), quantiles({0})"
VISITS = dict(kind="session", by="user_id", aggregates=VALUES.format("value").replace("user_id", "page") +
              ", sum(amount), count(type=conversion) as conversions, first(page), last(page)")
VISITED = dict(value="value", amount=True, distinct="page", edges="page", counted="conversions")
# name: window of the configuration, the same for Flink, what is compared
ORDERLY = {
    "by_page": (dict(kind="tumbling", size="1m", types="click,page_view", by="page,country",
                     aggregates=VALUES.format("value")), dict(size=60000), dict(value="value")),
    "by_source": (dict(kind="hopping", size="1m", slide="5s", types="platform", by="source",
                       aggregates=VALUES.format("metric")), dict(size=60000, slide=5000), dict(value="metric")),
    "sessions_5s": (dict(VISITS, gap="5s", types="click,page_view,conversion,transaction"),
                    dict(gap=5000, counted="conversion"), VISITED),
    "payments": (dict(kind="tumbling", size="10s", types="transaction", by="country",
                      aggregates="count, sum(amount)"), dict(size=10000), dict(amount=True)),
}
LATE = {
    "strict": (dict(kind="tumbling", size="10s", by="page", types="click,page_view", aggregates="count"),
               dict(size=10000), {}),
    "allowed": (dict(kind="tumbling", size="10s", by="page", types="click,page_view", aggregates="count",
                     lateness="20s"), dict(size=10000, lateness=20000), {}),
    "hops": (dict(kind="hopping", size="20s", slide="5s", by="page", types="click,page_view", aggregates="count"),
             dict(size=20000, slide=5000), {}),
    # Most of what comes latest lies further behind than the gap: late, if no session that is open reaches to it.
    "sessions_3s": (dict(VISITS, gap="3s", types="click,page_view,conversion,transaction"),
                    dict(gap=3000, counted="conversion"), VISITED),
}
ROLLED = dict(kind="tumbling", by="country", types="click,page_view,transaction", lateness="5m",
              aggregates=VALUES.format("value") + ", sum(amount)")
ROLL = {"minutes": (dict(ROLLED, size="1m", rollup="1h,1d"),), "days": (dict(ROLLED, size="1d"),)}
ROLLED_BACK_MS, HOUR_MS = 60000, 3600000


def program(rig, path):
    return os.path.join(rig.build, path)


def journal_of(rig, name, events, partitions, windows, **options):
    """Events through sluiced into a journal. Returns the daemon, which has ended."""
    options = {"start_ts": 1792000000000, "ts_rate": max(100, events // 400), **options}
    rig.gen_run(name, timeout=1800, pcap=rig.path(name + ".pcap"), seed=rig.seed, count=events, events_per_datagram=6,
                dup_permille=20, **options)
    daemon = Daemon(rig, name, file_ports(rig.path(name + ".pcap")), sinks=False)
    daemon.config["journal"].update(partitions=partitions, segments_max=4096)
    daemon.config["time"] = {"past_max": "0", "out_of_orderness": f"{BOUND_MS}ms", "tick": "1m"}  # none is idle
    daemon.config["state"] = {"enabled": False}
    daemon.config["windows"] = [dict(window[0], name=k) for k, window in windows.items()]
    rig.expect(daemon.start(), f"{name}: sluiced runs")
    rig.expect(daemon.wait_input_ended(1800) and daemon.wait_quiet(600), f"{name}: the file is read")
    daemon.stop_well(name)
    return daemon


def replay_args(rig, daemon, config, out, *more):
    return [rig.program("sluicectl"), "--json", "replay", "--dir", daemon.data, "--config", config, "--out", out, *more]


def late_of(rig, daemon, windows):
    """Offsets of the events that are late for all of these windows."""
    config, out = rig.path("few.yaml"), rig.path("few.late")
    few = dict(daemon.config, windows=[w for w in daemon.config["windows"] if w["name"] in windows])
    with open(config, "w", encoding="ascii") as f:
        f.write(yaml_of(few))
    subprocess.run(replay_args(rig, daemon, config, out, "--rows", "partial"), capture_output=True, check=True)
    with open(out, encoding="utf-8") as f:
        return {json.loads(x)["offset"] for x in f if x.startswith('{"late"')}


def expect_late(rig, name, mine, theirs):
    rig.expect(mine == theirs and mine,
               f"{name}: late events: {len(mine)}, Flink {len(theirs)}, different {len(mine ^ theirs)}")


def rows_of(rig, name, daemon, windows):
    """(the exported journal, our rows); None: no replay."""
    exported, rows = rig.path(name + ".events"), rig.path(name + ".rows")
    say = subprocess.run([program(rig, "tests/integration/equality/export_events"),
                          os.path.join(daemon.data, "journal"), exported], check=True, capture_output=True,
                         text=True).stdout
    out = subprocess.run(replay_args(rig, daemon, rig.path(name + ".yaml"), rows), capture_output=True, text=True,
                         check=False)
    if not rig.expect(out.returncode == 0, f"{name}: {say.strip()}, replayed {out.stderr[-500:]}"):
        return None
    return exported, ours(rows, {k: w[0]["by"].split(",") for k, w in windows.items()})


def theirs_of(class_path, exported, windows, bound):
    """Flink's (rows, offsets of late events) by name of a window. windows: (its configuration, arguments). Partitions
    are exported one behind the other: without late events Flink waits for all of them."""
    prefix = {name: f"{exported}.{name}" for name in windows}
    flink.windows(class_path, exported, [
        dict({k: config[k] for k in ("kind", "by", "types")}, bound=bound, out=prefix[name],
             late=prefix[name] + ".late", **arguments) for name, (config, arguments) in windows.items()])
    found = {}
    for name in windows:
        with open(prefix[name] + ".late.0", encoding="ascii") as f:
            found[name] = (flink.rows(prefix[name]), {int(x) for x in f})
    return found


def compare(rig, name, daemon, windows, class_path, late):
    exported, mine = rows_of(rig, name, daemon, windows) or (None, None)
    if not exported:
        return
    theirs = theirs_of(class_path, exported, {
        window: (config, dict(arguments, full=int("value" in what),
                              **{k: what[k] for k in ("distinct", "edges") if k in what}))
        for window, (config, arguments, what) in windows.items()}, BOUND_MS if late else ALL_MS)
    for window, (_, arguments, what) in windows.items():
        rows, found = theirs[window]
        c = Comparison(**what)
        # What came at the end within the lateness may not have been revised yet.
        c.all(mine.get(window, {}), rows, closed_until(mine) - arguments.get("lateness", 0))
        rig.expect(c.bad == 0 and c.several > c.open, f"{name}, {window}: {c.text()}")
        if late:
            expect_late(rig, f"{name}, {window}", late_of(rig, daemon, [window]), found)
    if late:
        expect_late(rig, f"{name}, all", late_of(rig, daemon, windows), set().union(*(x[1] for x in theirs.values())))


def compare_rolled(rig, name, daemon, class_path):
    exported, mine = rows_of(rig, name, daemon, ROLL) or (None, None)
    if not exported:
        return
    # What came latest may not have been revised yet.
    until_ms = closed_until(mine) - 2 * ROLLED_BACK_MS
    again = sum(len(revisions) > 1 for revisions in mine["minutes"].values())
    rig.expect(3 * again > len(mine["minutes"]), f"{name}: {again} minutes of {len(mine['minutes'])} are revised")
    theirs = theirs_of(class_path, exported, {"hours": (ROLLED, dict(size=HOUR_MS)),
                                                   "days": (ROLLED, dict(size=24 * HOUR_MS, full=1))}, ALL_MS)
    for what, rows, reference, value in (
            ("hours, minutes added up", rolled(mine["minutes"], HOUR_MS, until_ms), theirs["hours"][0], "value"),
            ("days, minutes added up", rolled(mine["minutes"], 24 * HOUR_MS, until_ms), theirs["days"][0], None),
            ("days, a window of their own", mine["days"], theirs["days"][0], "value")):
        c = Comparison(value=value, amount=True)
        c.all(rows, reference, until_ms)
        rig.expect(c.bad == 0 and c.several and c.open, f"{name}, {what}: {c.text()}")


def main():
    events = int(sys.argv[2]) if len(sys.argv) > 2 else 100000
    reason = flink.missing()
    if reason:
        skip(reason)
    with Rig(sys.argv[1]) as rig:
        class_path = flink.build(rig.dir)
        daemon = journal_of(rig, "orderly", events, 4, ORDERLY, disorder_ms=BOUND_MS - 1000, users=20000,
                            mix="click=4,platform=3,page_view=2,transaction=2,conversion=1")
        compare(rig, "orderly", daemon, ORDERLY, class_path, late=False)
        daemon = journal_of(rig, "late", events // 2, 1, LATE, disorder_ms=BOUND_MS + 8000, late=0.01,
                            late_by=25000, users=events // 50,
                            mix="click=4,page_view=4,transaction=1,conversion=1")
        compare(rig, "late", daemon, LATE, class_path, late=True)
        # From 21:56:40 on, an event a second.
        daemon = journal_of(rig, "rolled", events // 5, 4, ROLL, disorder_ms=ROLLED_BACK_MS, users=2000,
                            start_ts=1792015000000, ts_rate=1, mix="click=2,page_view=2,transaction=1")
        compare_rolled(rig, "rolled", daemon, class_path)
    rig.done()


main()
