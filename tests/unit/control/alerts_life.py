"""Alerts through the control socket: the latest of all kinds, one by its id, and what people say of them, over kill -9,
a change of the rule, and hostile bytes in the file."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid

from life import Life, pcap_write

DIR = tempfile.mkdtemp(prefix="sluice_alerts_life_")
life = Life(sys.argv[1], sys.argv[2], DIR)
ctl, result = life.ctl, life.result
EVENTS, USERS = 3000, 30
START = int(time.time() * 1000) // 60000 * 60000 - 3600_000
RULES = """rules:
- {id: busy, when: {type: click}, by: user_id, count: {at_least: 3, within: 10s}, suppress: 1h,
   severity: high, then: alert}
- {id: page-five, when: {type: click, page: /p5}, then: [alert, tag]}
"""
WINDOW = 'name: pages, kind: tumbling, size: 5s, by: page, aggregates: count, anomaly: "zscore(count,5,2)"'


def user(i):
    """One of them has a zero byte in it, which is text like any other."""
    return "zero\0byte" if i == 7 else f"u{i}"


def rules_write(text, name="rules.yaml"):
    path = os.path.join(DIR, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def write_all():
    lines = []
    for i in range(EVENTS):
        page = 3 if 40000 < i * 20 < 45000 else i % 7  # a burst of one page
        lines.append(json.dumps({"event_id": str(uuid.UUID(int=(i + 1) << 64 | 0x8000_0000_0000_0001)),
                                 "page": f"/p{page}" if page != 6 else "/p\0six", "user_id": user(i % USERS),
                                 "ts": START + i * 20, "attributes": {"odd": {"ke\0y": "va\0lue"}}}))
    pcap_write(os.path.join(DIR, "in.pcap"), lines)
    os.mkdir(os.path.join(DIR, "rules"))
    shutil.copy(rules_write(RULES), os.path.join(DIR, "rules"))
    life.write_config(f"""node: {{id: life, data_dir: {life.data}}}
eal: {{hugepages: false, memory: 128MiB, main_cores: 0-1023}}
journal: {{partitions: 4, segment_bytes: 4MiB}}
time: {{out_of_orderness: 1s, past_max: 0}}
state: {{enabled: true, checkpoint_every: 200ms, segment_bytes: 4MiB}}
control: {{socket: {life.socket}}}
rules: {{dir: {DIR}/rules}}
ports: [{{name: file, device: "net_pcap0,rx_pcap={DIR}/in.pcap"}}]
listeners: [{{name: in, udp_port: 9000}}]
windows:
  - {{{WINDOW}}}
""")


def fives():
    return sum(i % 7 == 5 and not 40000 < i * 20 < 45000 for i in range(EVENTS))


def listed(*words):
    return result("alerts", "list", *words)["alerts"]


def rule_stats(rule):
    return next(r for r in result("rules", "stats")["rules"] if r["id"] == rule)


def lists():
    every = listed("--limit", "1000")
    kinds = {a["rule"] for a in every}
    assert {"busy", "page-five"} < kinds and len(kinds) >= 3, kinds  # and the window's
    assert len({a["alert_id"] for a in every}) == len(every) and all(a["closed"] is None for a in every)
    times = [a["received"] for a in every]
    assert times == sorted(times, reverse=True)
    busy = listed("--rule", "busy", "--limit", "1000")
    assert len(busy) == USERS and {a["key"] for a in busy} == {f"user_id={user(i)}" for i in range(USERS)}, busy
    words = ["--socket", life.socket, "alerts", "list", "--rule", "busy", "--limit", "1000"]
    said = subprocess.run([life.sluicectl, *words], capture_output=True, text=True, check=True).stdout
    assert "user_id=zero?byte" in said and "user_id=u29" in said, said
    pages = {r["page"] for r in result("windows", "rows", "pages", "--limit", "1000")["rows"]}
    assert "/p\0six" in pages and "/p5" in pages, pages
    odd = next(a for a in busy if "zero" in a["key"])
    event = result("alerts", "show", odd["alert_id"])["event_ids"][0]
    assert odd["alert_id"] in {a["alert_id"] for a in result("event", event)["alerts"]}, event
    assert all(a["events"] == 3 and a["severity"] == "high" for a in busy)
    assert len(listed("--rule", "page-five", "--limit", "1000")) == fives()
    assert len(listed("--limit", "7")) == 7 and listed("--limit", "7") == every[:7] and listed("--rule", "none") == []
    assert len(listed()) == 50 and listed("--limit", "0") == []
    return every, busy


def shows(every, busy):
    one = result("alerts", "show", busy[0]["alert_id"])
    assert one["rule_id"] == "busy" and one["key"] == busy[0]["key"] and len(one["evidence"]) == 3, one
    assert one["closed"] is None and one["history"] == [], one
    for rule in {a["rule"] for a in every}:
        a = next(a for a in every if a["rule"] == rule)
        one = result("alerts", "show", a["alert_id"])
        assert one["rule_id"] == rule and one["alert_id"] == a["alert_id"] and one["key"] == a["key"], one
    for bad in ("nothing", str(uuid.uuid4()), "life/0000000000000001/0/5/page-five", "/////", "x" * 2000,
                "aa" + "-aa" * 7 + "a" * 13, "a-" * 18, "a" * 36, " " * 36,
                busy[0]["alert_id"].upper(), every[-1]["alert_id"] + "x"):
        assert ctl("alerts", "show", bad, check=False)[0] == 1, bad


def closes(every, busy):
    five = [a for a in every if a["rule"] == "page-five"]
    window = next(a for a in every if a["rule"] not in ("busy", "page-five"))
    for a, said in zip(busy, ["true", "true", "true", "false", "unsure"]):
        out = result("alerts", "close", a["alert_id"], "--as", said, "--note", "looked \"at\" it\n")
        assert out["was"] is None and out["rule"] == "busy" and len(out["version"]) == 16, out
    assert result("alerts", "close", busy[0]["alert_id"], "--as", "false")["was"] == "true"
    assert result("alerts", "close", five[0]["alert_id"], "--as", "true")["rule"] == "page-five"
    assert result("alerts", "close", window["alert_id"], "--as", "false")["version"] == ""
    for bad in ([busy[1]["alert_id"], "--as", "maybe"], [busy[1]["alert_id"]], [str(uuid.uuid4()), "--as", "true"],
                [busy[1]["alert_id"], "--as", "true", "--rule", "page-five"],
                ["garbage", "--as", "true", "--rule", "page-five"],
                ["00000000-0000-0000-0000-000000000000", "--as", "true", "--rule", "page-five"],
                ["n/0123456789abcdef/0/4/busy", "--as", "true", "--rule", "page-five"],
                ["n/0123456789abcde/0/4/page-five", "--as", "true", "--rule", "page-five"],
                [busy[1]["alert_id"], "--as", "true", "--note", "n" * 401]):
        usage = "maybe" in bad or len(bad) == 1
        assert ctl("alerts", "close", *bad, check=False)[0] == (2 if usage else 1), bad
    gone = str(uuid.uuid4())  # is in no log any more
    for typo, said in (("bussy", "no rule 'bussy' is in force"), ("bussy", "did you mean busy?"),
                       ("qqqqqqqq", "no rule")):
        code, _, text = ctl("alerts", "close", gone, "--as", "true", "--rule", typo, check=False)
        assert code == 1 and said in text and (typo == "bussy" or "did you mean" not in text), text
    assert ctl("alerts", "show", gone, check=False)[0] == 1  # nothing was written
    assert result("alerts", "close", gone, "--as", "true", "--rule", "busy")["version"] == ""
    return gone


def closed(busy, gone, damaged=0):
    """The same after any restart."""
    s = rule_stats("busy")
    assert (s["true"], s["false"], s["unsure"], s["precision"]) == (2, 2, 1, 0.5) and s["open"] == USERS - 5, s
    one = result("alerts", "show", busy[0]["alert_id"])
    assert one["closed"] == "false" and [h["as"] for h in one["history"]] == ["true", "false"], one
    assert one["history"][0]["note"] == "looked \"at\" it\n" and one["history"][0]["uid"] == os.getuid(), one
    assert result("alerts", "show", gone)["closed"] == "true"
    rule = result("rules", "show", "busy")
    assert rule["closed"] == {"true": 2, "false": 2, "unsure": 1, "precision": 0.5}, rule
    assert rule["closed_other_versions"] == {"true": 1, "false": 0, "unsure": 0, "precision": 1.0}, rule
    still = listed("--rule", "busy", "--open", "--limit", "1000")
    assert len(still) == USERS - 5 and not {a["alert_id"] for a in still} & {a["alert_id"] for a in busy[:5]}
    text = result("metrics")["text"]
    assert 'sluice_rule_closed_true_total{rule="busy"} 2' in text and "sluice_rules_not_in_force_total" in text
    assert f"sluice_alerts_closed_damaged_lines {damaged}" in text, text


def changed(busy, gone):
    """Another version of the rule begins anew, and an alert of the old one stays with that."""
    other = rules_write(RULES.replace("at_least: 3", "at_least: 4"), "other.yaml")
    result("rules", "apply", other)
    rule = result("rules", "show", "busy")
    assert rule["closed"] == {"true": 0, "false": 0, "unsure": 0, "precision": None}, rule
    assert rule["closed_other_versions"] == {"true": 3, "false": 2, "unsure": 1, "precision": 0.6}, rule
    assert result("alerts", "close", busy[6]["alert_id"], "--as", "unsure")["was"] is None
    assert result("rules", "show", "busy")["closed_other_versions"]["unsure"] == 2
    assert rule_stats("page-five")["true"] == 1
    result("rules", "rollback")
    assert result("alerts", "close", busy[6]["alert_id"], "--as", "false")["was"] == "unsure"
    assert result("rules", "show", "busy")["closed"] == {"true": 2, "false": 3, "unsure": 1, "precision": 0.4}


def beside_canary():
    """An alert that comes while a canary of its rule runs is one of the rule in force. Events of a new user."""
    result("rules", "canary", rules_write(RULES.replace("at_least: 3", "at_least: 4"), "other.yaml"))
    assert ctl("stop")[0] == 0
    pcap_write(os.path.join(DIR, "in.pcap"), [json.dumps({"page": "/new", "user_id": "new", "ts": START + 90000 + i})
                                              for i in range(8)])
    p = life.start()
    life.wait(lambda: any(a["key"] == "user_id=new" for a in listed("--rule", "busy")), "an alert")
    one = next(a for a in listed("--rule", "busy") if a["key"] == "user_id=new")
    before = result("rules", "show", "busy")
    assert result("alerts", "close", one["alert_id"], "--as", "unsure")["rule"] == "busy"
    after = result("rules", "show", "busy")
    assert after["mode"] == "in force" and after["closed"]["unsure"] == before["closed"]["unsure"] + 1, (before, after)
    assert after["closed_other_versions"] == before["closed_other_versions"], (before, after)
    return p


def main():
    write_all()
    p = life.start()
    life.wait(life.settled, "balance")
    life.wait(lambda: len({a["rule"] for a in listed("--limit", "1000")}) >= 3, "an anomaly")
    every, busy = lists()
    shows(every, busy)
    gone = closes(every, busy)
    closed(busy, gone)
    p.send_signal(signal.SIGKILL)
    p.wait()
    with open(os.path.join(life.data, "alerts-closed.log"), "ab") as f:
        f.write(b"\x00\xff hostile\n00000000 {}\ndeadbeef {\"t\":1")
    p = life.start()
    life.wait(life.settled, "balance after kill -9")
    closed(busy, gone, 3)
    changed(busy, gone)
    p = beside_canary()
    assert ctl("stop")[0] == 0
    life.ended(p, 0)


life.run(main)
