"""The state stage in sluiced for real, on pcap ports: rows against a count made here, checkpoints, kill -9, replay,
another set of definitions, refusals."""
import collections
import glob
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid

from life import Life, pcap_write

SLUICED, SLUICECTL = sys.argv[1:3]
DIR = tempfile.mkdtemp(prefix="sluice_state_life_")
life = Life(SLUICED, SLUICECTL, DIR)
SOCKET, DATA, CONFIG = life.socket, life.data, life.config
start, ctl, result, wait, ended, settled = life.start, life.ctl, life.result, life.wait, life.ended, life.settled
EVENTS, USERS, STEP_MS, SIZE_MS = 6000, 50, 50, 5000
START = int(time.time() * 1000) // 60000 * 60000 - 3600_000
PAGES = 'name: pages, kind: tumbling, size: 5s, by: page, aggregates: "count, distinct(user_id)"'
RULE = """rules:
- {id: once, when: {type: click}, by: user_id, suppress: 1h, then: alert}
"""
USERS_WINDOW = 'name: users, kind: session, gap: 10s, by: user_id, aggregates: count'


def write_input(first, count):
    """Events in order of time; returns {(window start, page): count}."""
    counts, lines = collections.Counter(), []
    for i in range(first, first + count):
        ts, page = START + i * STEP_MS, f"/p{i % 7}"
        counts[(ts // SIZE_MS * SIZE_MS, page)] += 1
        lines.append(json.dumps({"event_id": str(uuid.UUID(int=(i + 1) << 64 | 0x8000_0000_0000_0001)),
                                 "user_id": f"u{i % USERS}", "ts": ts, "page": page}))
    pcap_write(os.path.join(DIR, "in.pcap"), lines)
    return counts


def write_config(*windows):
    life.write_config(f"""node: {{id: life, data_dir: {DATA}}}
eal: {{hugepages: false, memory: 128MiB}}
journal: {{partitions: 4, segment_bytes: 4MiB}}
time: {{out_of_orderness: 1s, past_max: 0}}
state: {{enabled: true, checkpoint_every: 200ms, segment_bytes: 4MiB}}
control: {{socket: {SOCKET}}}
rules: {{dir: {DIR}/rules}}
ports: [{{name: file, device: "net_pcap0,rx_pcap={DIR}/in.pcap"}}]
listeners: [{{name: in, udp_port: 9000}}]
windows:
""" + "".join(f"  - {{{w}}}\n" for w in windows))


def replay(*words):
    """Rows by key, and the summary."""
    path = os.path.join(DIR, "rows.jsonl")
    summary = result("replay", "--dir", DATA, "--out", path, *words)
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f], summary


def by_page(rows):
    pages = {(r["start_ms"], r["page"]): r["count"] for r in rows if r["window"] == "pages"}
    assert len(pages) == sum(r["window"] == "pages" for r in rows), "a row came twice"
    return pages


def first_run():
    want = write_input(0, EVENTS)
    os.mkdir(os.path.join(DIR, "rules"))
    with open(os.path.join(DIR, "rules", "once.yaml"), "w", encoding="utf-8") as f:
        f.write(RULE)
    write_config(PAGES, USERS_WINDOW)
    p = start()
    wait(settled, "balance")
    w = result("windows")
    pages = next(x for x in w["windows"] if x["window"] == "pages")
    assert pages["events"] == EVENTS and pages["late"] == 0, pages
    assert sum(s["events"] for s in w["sources"]) == EVENTS and w["merge"]["state"] == "running", w
    made = result("checkpoint", "now")
    assert len(made["checkpoints"]) == 5, made
    assert result("checkpoint", "savepoint", "before-kill")["savepoint"] == "before-kill"
    assert ctl("checkpoint", "savepoint", "../x", check=False)[0] == 1
    text = result("metrics")["text"]
    assert 'sluice_window_events_total{window="pages"} %d' % EVENTS in text and "sluice_state_up" in text, text
    assert f'sluice_rule_state_alerts_total{{rule="once"}} {USERS}' in text, text
    rule, = result("rules", "stats")["stateful"]
    assert (rule["id"], rule["partitions"], rule["hits"], rule["alerts"], rule["suppressed"], rule["keys"]) == \
        ("once", 4, EVENTS, USERS, EVENTS - USERS, USERS), rule
    rows = result("windows", "rows", "pages", "--last", "1000", "--limit", "10000")["rows"]
    hot = {(r["start_ms"], r["page"]): r["count"] for r in rows}
    assert hot and all(want[k] == n for k, n in hot.items()), (len(hot), len(want))
    assert ctl("windows", "rows", "none", check=False)[0] == 1
    p.send_signal(signal.SIGKILL)
    p.wait()
    return want, hot


def killed_run(want, hot):
    """The same input again: duplicates by id. Rows that were in memory are there again."""
    p = start()
    wait(settled, "balance after kill -9")
    w = result("windows")
    assert next(x for x in w["windows"] if x["window"] == "pages")["events"] == EVENTS
    assert all(x["mismatches"] == 0 for x in w["partitions"]), w
    with open(os.path.join(DIR, "log"), encoding="utf-8") as f:  # replayed is what came since the checkpoint, no more
        replays = re.findall(r"recovered partition=\d offsets=(\d+)\.\.(\d+) compared=\d+ seconds=", f.read())
    assert len(replays) == 8 and sum(int(b) - int(a) for a, b in replays[4:]) < EVENTS // 20, replays
    assert sum(int(a) for a, _ in replays[4:]) > EVENTS, replays
    rows = result("windows", "rows", "pages", "--last", "1000", "--limit", "10000")["rows"]
    assert hot.items() <= {(r["start_ms"], r["page"]): r["count"] for r in rows}.items()
    assert ctl("stop")[0] == 0
    ended(p, 0)
    got, summary = replay()
    pages = by_page(got)
    assert pages and all(want[k] == n for k, n in pages.items())
    last = max(k[0] for k in pages)
    assert {k for k in want if k[0] <= last} == set(pages), "windows are missing"
    assert summary["logs"][-1]["log"] == "merged" and summary["faults"] == [], summary
    assert sum(x["events"] for x in summary["logs"]) == EVENTS
    again = replay()[1]
    assert [x["crc"] for x in again["logs"]] == [x["crc"] for x in summary["logs"]]
    assert not any("alert_id" in r for r in got), "alerts of rules are no merged rows"
    partial = replay("--rows", "partial")[0]
    alerts = [r for r in partial if "alert_id" in r]
    assert len(alerts) == len({r["alert_id"] for r in alerts}) == USERS and \
        {r["key"] for r in alerts} == {f"user_id=u{i}" for i in range(USERS)}, alerts[:2]
    partial = [r for r in partial if "alert_id" not in r]
    counts = collections.Counter()
    for r in partial:
        if r["window"] == "pages":
            counts[(r["start_ms"], r["page"])] += r["count"]
    assert all(counts[k] == n for k, n in pages.items()), "partial rows do not add up"
    assert ctl("replay", "--dir", DATA, "--rows", "all", check=False)[0] == 1
    return pages


def files():
    """Checkpoints as they lie there."""
    ls = result("checkpoint", "ls", "--dir", DATA)
    assert ls["damaged"] == 0 and sum(c["savepoint"] == "before-kill" for c in ls["checkpoints"]) == 5, ls
    newest = max((c for c in ls["checkpoints"] if c["of"] == "merge"), key=lambda c: c["seq"])
    one = result("checkpoint", "inspect", os.path.join(DATA, "state/checkpoints", newest["file"]))
    assert one["of"] == "merge" and one["seq"] == newest["seq"] and one["partitions"] == 4, one
    path = glob.glob(os.path.join(DATA, "state/checkpoints/p0-*.ckpt"))[0]
    with open(path, "r+b") as f:
        f.truncate(os.path.getsize(path) - 1)
    assert result("checkpoint", "ls", "--dir", DATA)["damaged"] == 1
    assert ctl("checkpoint", "inspect", path, check=False)[0] == 1
    os.remove(path)


def other_definitions(pages):
    """pages as before, users gone, minutes new: more input."""
    between_ms, cut = int(time.time() * 1000), (START + EVENTS * STEP_MS) // SIZE_MS * SIZE_MS
    want = write_input(EVENTS, EVENTS)
    write_config(PAGES, "name: minutes, kind: tumbling, size: 1m, aggregates: count")
    p = start()
    wait(settled, "balance with other definitions")
    names = {x["window"]: x for x in result("windows")["windows"]}
    assert set(names) == {"pages", "minutes"} and names["pages"]["events"] == 2 * EVENTS, names
    assert names["minutes"]["events"] == EVENTS, names
    assert ctl("stop")[0] == 0
    ended(p, 0)
    got = by_page(replay()[0])
    assert pages.items() <= got.items() and len(got) > len(pages)
    for key, n in got.items():  # the window in which the run ended has events of both
        assert n == want[key] or key in pages or key[0] <= START + EVENTS * STEP_MS, (key, n, want[key])
    minutes = [r for r in replay("--config", CONFIG)[0] if r["window"] == "minutes"]
    assert sum(r["count"] for r in minutes[:3]) == 3 * 60000 // STEP_MS, minutes[:3]  # as if they had always been
    assert ctl("replay", "--dir", DATA, "--from", "nonsense", check=False)[0] == 1
    assert not replay("--to", "2001-01-01T00:00:00Z")[0]
    code, _, said = ctl("replay", "--dir", DATA, "--from", "2001-01-02T00:00:00Z", "--to", "2001-01-01T00:00:00Z",
                        check=False)
    assert code == 1 and "--to: expected a time behind --from" in said, said
    for part in ("--to", "--from"):  # by receive time: each run alone, windows of the second begin anew
        rows, summary = replay(part, str(between_ms))
        assert sum(x["events"] for x in summary["logs"]) == EVENTS, (part, summary)
        alone = by_page(rows)
        assert alone and all(got[k] == n for k, n in alone.items() if k[0] != cut), (part, alone)
        assert all((k[0] <= cut) == (part == "--to") or k[0] == cut for k in alone), (part, alone)


def refusals():
    r = subprocess.run([SLUICED, "--config", CONFIG, "--set", "state.step=500ms"], capture_output=True, text=True)
    assert r.returncode == 1 and "state.step was 1000 ms" in r.stderr and "move" in r.stderr, r.stderr
    os.rename(os.path.join(DATA, "output"), os.path.join(DIR, "aside"))
    r = subprocess.run([SLUICED, "--config", CONFIG], capture_output=True, text=True)
    assert r.returncode == 1 and "is missing" in r.stderr and "move" in r.stderr, r.stderr
    os.rename(os.path.join(DATA, "state"), os.path.join(DIR, "aside-state"))  # as it says: begin anew
    p = start()
    wait(settled, "balance after beginning anew")
    assert ctl("stop")[0] == 0
    ended(p, 0)


def main():
    want, hot = first_run()
    pages = killed_run(want, hot)
    files()
    other_definitions(pages)
    refusals()


life.run(main)
