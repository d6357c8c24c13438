"""The state stage against Apache Flink on the same events: a capture file goes through sluiced (parse, deduplicate,
journal), the journal is exported for Flink and replayed by `sluicectl replay`, and the rows are compared.

    test_equality.py BUILD_DIR [EVENTS]

Without late events at P = 4, where the result does not depend on the order between partitions; with late events at
P = 1, where Flink sees the same order as one split with a watermark after each record: then the sets of late events are
equal, too."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import flink  # noqa: E402  (needs the path above)
from compare import Comparison, closed_until, ours  # noqa: E402
from daemon import Daemon, file_ports  # noqa: E402
from rig import Rig, skip  # noqa: E402

BOUND_MS = 10000
VALUES = "count, sum({0}), min({0}), max({0}), distinct(user_id), quantiles({0})"
# name: window of the configuration, the same for Flink, what is compared
ORDERLY = {
    "by_page": (dict(kind="tumbling", size="1m", types="click,page_view", by="page,country",
                     aggregates=VALUES.format("value")), dict(size=60000), dict(value="value")),
    "by_source": (dict(kind="hopping", size="1m", slide="5s", types="platform", by="source",
                       aggregates=VALUES.format("metric")), dict(size=60000, slide=5000), dict(value="metric")),
    "sessions_5s": (dict(kind="session", gap="5s", by="user_id", types="click,page_view,conversion,transaction",
                         aggregates="count"), dict(gap=5000), {}),
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
}


def program(rig, path):
    return os.path.join(rig.build, path)


def journal_of(rig, name, events, partitions, windows, **options):
    """Events through sluiced into a journal. Returns the daemon, which has ended."""
    start = 1792000000000
    rig.gen_run(name, timeout=1800, pcap=rig.path(name + ".pcap"), seed=rig.seed, count=events, start_ts=start,
                events_per_datagram=6, dup_permille=20, ts_rate=max(100, events // 400), **options)
    daemon = Daemon(rig, name, file_ports(rig.path(name + ".pcap")), sinks=False)
    daemon.config["journal"].update(partitions=partitions, segments_max=4096)
    daemon.config["time"] = {"past_max": "0", "out_of_orderness": f"{BOUND_MS}ms", "tick": "1m"}  # none is idle
    daemon.config["state"] = {"enabled": False}
    daemon.config["windows"] = [dict(window[0], name=k) for k, window in windows.items()]
    rig.expect(daemon.start(), f"{name}: sluiced runs")
    rig.expect(daemon.wait_input_ended(1800) and daemon.wait_quiet(600), f"{name}: the file is read")
    daemon.stop_well(name)
    return daemon


def compare(rig, name, daemon, windows, class_path, late):
    data = daemon.data
    exported, rows, late_path = rig.path(name + ".events"), rig.path(name + ".rows"), rig.path(name + ".late")
    say = subprocess.run([program(rig, "tests/integration/equality/export_events"), os.path.join(data, "journal"),
                          exported], check=True, capture_output=True, text=True).stdout
    replay = [rig.program("sluicectl"), "--json", "replay", "--dir", data, "--config", rig.path(name + ".yaml")]
    out = subprocess.run([*replay, "--out", rows], capture_output=True, text=True, check=False)
    if not rig.expect(out.returncode == 0, f"{name}: {say.strip()}, replayed {out.stderr[-500:]}"):
        return
    mine = ours(rows, {k: w[0]["by"].split(",") for k, w in windows.items()})
    theirs_late = set()
    # Partitions are exported one behind the other: without late events Flink waits for all of them.
    for window, (config, arguments, what) in windows.items():
        prefix = rig.path(f"{name}.{window}")
        said = flink.run(class_path, **{"in": exported}, kind=config["kind"], by=config["by"], types=config["types"],
                         bound=BOUND_MS if late else 10 ** 9, full=int("value" in what), out=prefix,
                         late=prefix + ".late", **arguments)
        c = Comparison(**what)
        c.all(mine.get(window, {}), flink.rows(prefix), closed_until(mine))
        rig.expect(c.bad == 0 and c.rows > 0, f"{name}, {window}: {c.text()} (Flink: {said['rows']} rows)")
        with open(prefix + ".late.0", encoding="ascii") as f:
            theirs_late |= {int(x) for x in f}
    if late:
        subprocess.run([*replay, "--rows", "partial", "--out", late_path], capture_output=True, check=True)
        with open(late_path, encoding="utf-8") as f:
            mine_late = {json.loads(x)["offset"] for x in f if x.startswith('{"late"')}
        rig.expect(mine_late == theirs_late and mine_late,
                   f"{name}: late events: {len(mine_late)}, Flink {len(theirs_late)}, "
                   f"different {len(mine_late ^ theirs_late)}")


def main():
    events = int(sys.argv[2]) if len(sys.argv) > 2 else 100000
    reason = flink.missing()
    if reason:
        skip(reason)
    with Rig(sys.argv[1]) as rig:
        class_path = flink.build(rig.dir)
        daemon = journal_of(rig, "orderly", events, 4, ORDERLY, mix="click=4,platform=3,page_view=2,transaction=2",
                            disorder_ms=BOUND_MS - 1000, users=20000)
        compare(rig, "orderly", daemon, ORDERLY, class_path, late=False)
        daemon = journal_of(rig, "late", events // 2, 1, LATE, mix="click=1,page_view=1", disorder_ms=BOUND_MS + 8000,
                            users=5000)
        compare(rig, "late", daemon, LATE, class_path, late=True)
    rig.done()


main()
