"""`rules try` with rules that have state, over a journal that sluiced wrote: four partitions, rules by the events' own
key and by others, in order of arrival and of event time, of every kind. A ruleset that was in force gives the alerts
that were put out then, one by one; others give what they gain and lose; ranges, warm-up, beside the running daemon, a
journal that is trimmed meanwhile, kill -9."""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import uuid

from life import Life, pcap_write

DIR = tempfile.mkdtemp(prefix="sluice_try_life_")
life = Life(sys.argv[1], sys.argv[2], DIR)
EVENTS, STEP_MS = 24000, 20
SETTLED = []  # when all events were in
START = int(time.time() * 1000) // 60000 * 60000 - 3600_000
FILE, OTHER, NONE = (os.path.join(DIR, n) for n in ("in-force.yaml", "other.yaml", "none.yaml"))
RULES = """rules:
- {id: single, when: {type: transaction, card: card-7}, then: alert}
- {id: own-count, when: {type: click}, by: user_id, count: {at_least: 4, within: 20s}, suppress: 30s, then: alert}
- {id: ip-cards, when: {type: transaction}, by: ip, distinct: {field: card, at_least: 5, within: 30s},
   suppress: 1m, then: alert}
- {id: ip-cards-time, when: {type: transaction}, by: ip, distinct: {field: card, at_least: 5, within: 30s},
   suppress: 1m, order: event_time, evidence: 5, then: alert}
- {id: card-sum, when: {type: transaction}, by: [card, merchant], sum: {field: amount, at_least: 400, within: 1m},
   then: alert}
- {id: device-rate, when: {type: click}, by: device, rate_change: {factor: 3, at_least: 20, within: 10s},
   suppress: 1m, then: alert}
- id: steps
  by: ip
  sequence:
    within: 60s
    steps:
      - {name: look, when: {type: transaction, merchant: m1}}
      - {not: {type: transaction, card: card-3}}
      - {name: buy, when: {type: transaction, merchant: m2}}
  then: alert
- {id: silent, when: {type: transaction, merchant: m0}, by: card,
   absence: {within: 20s, then: {type: transaction, merchant: m3}}, then: alert}
- {id: places, when: {type: transaction}, by: card,
   travel: {speed_kmh: 900, min_km: 500, place: country}, suppress: 1m, then: alert}
- {id: odd, when: {type: click}, by: device,
   anomaly: {of: count, every: 5s, zscore: {windows: 8, k: 2}, samples: 5}, then: alert}
"""


def made_events():
    """A third clicks, out of order by up to a second; some twice, some without an id, some far too late."""
    r = random.Random(7)
    lines = []
    for i in range(EVENTS):
        ts = START + i * STEP_MS - r.randrange(1000) - (40_000 if r.random() < 0.002 else 0)
        e = {"event_id": str(uuid.UUID(int=(i + 1) << 64 | 0x8000_0000_0000_0001)), "ts": ts,
             "user_id": f"u{r.randrange(300)}"}
        if i % 3 == 0:
            e |= {"page": f"/p{r.randrange(9)}", "device": f"d{min(r.randrange(12), r.randrange(12), i // 8000 * 4)}"}
        else:
            e |= {"type": "transaction", "card": f"card-{r.randrange(60)}", "ip": f"192.0.2.{r.randrange(80)}",
                  "amount": r.randrange(1, 9000) / 100, "merchant": f"m{r.randrange(4)}",
                  "country": r.choice(["DE", "DE", "DE", "AT", "JP"])}
        if r.random() < 0.02:
            del e["event_id"]
        lines += [json.dumps(e)] * (2 if r.random() < 0.01 else 1)
    return lines


def rules_write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def config(segments=64, pcap=None):
    pcap = pcap or os.path.join(DIR, "in.pcap")
    life.write_config(f"""node: {{id: life, data_dir: {life.data}}}
eal: {{hugepages: false, memory: 128MiB}}
journal: {{partitions: 4, segment_bytes: 4MiB, segments_max: {segments}, dedup_window: 1h}}
time: {{out_of_orderness: 2s, past_max: 0}}
state: {{enabled: true, checkpoint_every: 200ms, segment_bytes: 4MiB, step: 500ms}}
control: {{socket: {life.socket}}}
rules: {{dir: {DIR}/rules}}
ports: [{{name: file, device: "net_pcap0,rx_pcap={pcap}"}}]
listeners: [{{name: in, udp_port: 9000}}]
""")


def backtest(file, *words):
    out = life.result("rules", "try", file, "--dir", life.data, *words)
    assert out["faults"] == [] and out["not_paired"] == 0, out["faults"]
    return out


def by_rule(out):
    return {r["rule"]: r for r in out["alerts"]}


def live_stats():
    return {r["id"]: r for r in life.result("rules", "stats")["stateful"]}


def journal():
    return map(json.loads, life.ctl("journal", "dump", "--dir", life.data + "/journal")[1].splitlines())


def live_alerts(to):
    """What the state stage put out, by id: its replay, which it compares itself with."""
    path = os.path.join(DIR, "rows.jsonl")
    life.result("replay", "--dir", life.data, "--rows", "partial", "--out", path, "--to", to)
    with open(path, encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    return {r["alert_id"]: r for r in rows if "alert_id" in r}


def recorded():
    pcap_write(os.path.join(DIR, "in.pcap"), made_events(), 4)
    os.mkdir(os.path.join(DIR, "rules"))
    rules_write(FILE, RULES)
    rules_write(NONE, "rules: []\n")
    shutil.copy(FILE, os.path.join(DIR, "rules", "rules.yaml"))
    config()
    p = life.start()
    life.wait(life.settled, "balance")
    SETTLED.append(time.monotonic())
    stats = live_stats()
    assert len(stats) == 9 and all(r["evicted"] == 0 for r in stats.values()), stats
    events = sum(r["kind"] == "event" for r in journal())
    assert EVENTS <= events < EVENTS + 50, events  # those twice without an id are two
    return p, stats, events


def as_it_was(stats, events):
    """Beside the running daemon: the rules in force against themselves. Time goes on meanwhile."""
    out, after = backtest(FILE), live_stats()
    rows = by_rule(out)
    assert out["events"] == events and out["warm_up_events"] == 0 and len(rows) == 10, (out["events"], sorted(rows))
    assert all(r["gained"] == r["lost"] == 0 and r["same"] == r["now"] == r["then"] > 0 for r in rows.values()), rows
    for rule, r in rows.items():
        if rule != "single":
            assert stats[rule]["alerts"] <= r["then"] <= after[rule]["alerts"], (rule, r, stats[rule], after[rule])
            assert r["keys_gained"] == r["keys_lost"] == 0 < r["keys_same"] <= r["then"], r
    assert out["differences"] == [] and out["differences_with_state"] == []
    for side in ("now", "then"):
        s = out[side]
        assert s["placed_by_journal"] > EVENTS and s["placed_by_time"] == s["place_not_found"] == 0, s
        assert s["ns_event"] > 0 and s["ns_match"] > 0 and s["ns_state"] > 0, s
        assert s["keys"] > 0 and s["with_state"] == 9, s
    assert out["time"]["settings_of"] == "journal" and out["time"]["step_ms"] == 500 and \
        out["time"]["out_of_orderness_ms"] == 2000 and out["time"]["watermark"], out["time"]
    waiting = {(s["rule"], s["side"]): s for s in out["state"]}
    # what is waited for to be absent ends 20 s later, and a slow machine takes as long to come here
    assert waiting[("silent", "then")]["partials"] > 0 or time.monotonic() - SETTLED[0] > 15, waiting
    assert waiting[("ip-cards-time", "then")]["late"] == stats["ip-cards-time"]["late"] > 0, waiting


def alert_by_alert(to):
    """Each alert that was put out, with its id, times, value and the ids of its events; addresses are the events'."""
    live, out = live_alerts(to), backtest(FILE, "--against", "2", "--events", "1000000", "--to", to)
    got = {a["alert_id"]: a for a in out["differences_with_state"]}
    assert len(got) == len(out["differences_with_state"]) and all(a["alert"] == "gained" for a in got.values())
    assert got.keys() == live.keys(), (len(got), len(live), {live[i]["rule_id"] for i in live.keys() - got.keys()})
    assert {a["rule_id"] for a in live.values()} == {r for r in by_rule(out) if r != "single"}
    places = {}
    for r in journal():
        if r["kind"] == "event":
            places[r["event_id"]] = (r["partition"], r["offset"])
    made = 0
    for i, want in live.items():
        a = got[i]
        same = ("key", "first_time", "last_time", "value", "expected", "score", "title", "severity", "ruleset",
                "event_ids", "evidence_total")
        assert all(a[k] == want[k] for k in same) and a["rule"] == want["rule_id"], (a, want)
        for event_id, address in zip(a["event_ids"], a["evidence"]):
            # also of events without an id of their own: a shadow has the one that was made
            assert tuple(map(int, address.split("/")[2:])) == places[event_id], (a, places.get(event_id))
            made += event_id[14] == "8"
    assert made > 0
    single = [e for e in out["differences"] if e["rule"] == "single"]
    assert len(single) == by_rule(out)["single"]["gained"] and single, single[:1]
    assert all((e["partition"], e["offset"]) == places[e["event_id"]] for e in single)


def others(to):
    """A lower threshold gains, a higher one loses, a key that the journal has no shadows of is found by time."""
    rules_write(OTHER, RULES.replace("at_least: 4, within: 20s", "at_least: 3, within: 20s")
                .replace("sum: {field: amount, at_least: 400", "sum: {field: amount, at_least: 500")
                .replace("- {id: single", "- {id: by-merchant, when: {type: transaction}, by: [merchant, country], "
                         "count: {at_least: 10, within: 20s}, suppress: 5s, order: event_time, "
                         "then: alert}\n- {id: single"))
    out = backtest(OTHER, "--against", "1", "--events", "2", "--to", to)
    rows = by_rule(out)
    assert rows["own-count"]["keys_gained"] >= 0 == rows["own-count"]["keys_lost"] and \
        rows["own-count"]["then"] > rows["own-count"]["now"], rows["own-count"]
    # without suppression every alert of the higher sum is one of the lower
    assert rows["card-sum"]["lost"] > 0 == rows["card-sum"]["keys_gained"], rows["card-sum"]
    new = rows["by-merchant"]
    # Partitions meet by receive time, and minutes of event time of this file are received in a millisecond: how many of
    # the twelve keys get ten events together, no watermark between them, is not the same in each run.
    assert new["now"] == new["lost"] == 0 < new["then"] == new["gained"] and 0 < new["keys_gained"] <= 12, new
    assert rows["steps"]["gained"] == rows["steps"]["lost"] == 0 < rows["steps"]["same"]
    shown = [a for a in out["differences_with_state"] if a["rule"] == "by-merchant"]
    assert len(shown) == 2 and all(len(a["evidence"]) == len(a["event_ids"]) == 10 and None not in a["evidence"]
                                   for a in shown), shown
    assert out["then"]["placed_by_time"] > 0 == out["then"]["place_not_found"], out["then"]
    assert backtest(OTHER, "--against", "1", "--to", to)["alerts"] == out["alerts"], "the same again"


def ranges():
    """State before a range is made by its warm-up: with it the alerts in the range are those of the whole."""
    whole = backtest(FILE, "--against", "2", "--events", "1000000")
    times = sorted(r["receive_time_ms"] for r in journal() if r["kind"] == "event")
    middle, end = times[len(times) // 3], times[len(times) * 9 // 10]
    assert times[0] < middle < end
    part = backtest(FILE, "--against", "2", "--events", "1000000", "--from", str(middle), "--to", str(end))
    assert 0 < part["events"] < whole["events"] and part["warm_up_events"] > 0, part
    ids = {a["alert_id"] for a in whole["differences_with_state"]}
    inside = {a["alert_id"] for a in part["differences_with_state"]}
    assert inside and inside <= ids and len(inside) < len(ids), (len(inside), len(ids))
    assert next(s for s in part["state"] if s["rule"] == "ip-cards-time" and s["side"] == "then")["waiting"] > 0
    cold = backtest(FILE, "--against", "2", "--from", str(middle), "--to", str(end), "--warm-up", "0s")
    assert cold["warm_up_events"] == 0 and cold["events"] == part["events"]
    assert life.ctl("rules", "try", FILE, "--dir", life.data, "--warm-up", "soon", check=False)[0] == 1
    nothing = backtest(FILE, "--to", "2001-01-01T00:00:00Z")
    assert nothing["events"] == 0 and nothing["alerts"] == []


def beside_canary():
    """A canary alerts nothing: it is no part of what is in force, and costs a backtest nothing."""
    done = life.result("rules", "canary", OTHER)
    assert (done["generation"], done["rules"]) == (3, 0) and done["canaries"] == 11, done
    out = backtest(FILE)
    assert out["now"]["generation"] == 3 and out["then"]["keys"] > 0, out["now"]
    assert all(out["now"][k] == 0 for k in ("rules", "with_state", "alerts", "keys", "ns_state")), out["now"]
    assert not any(s["side"] == "now" for s in out["state"]), out["state"]


def files_of(directory):
    return sorted((os.path.join(base, n), os.stat(os.path.join(base, n)).st_size)
                  for base, _, names in os.walk(directory) for n in names)


def killed():
    """Nothing is written, and nothing is left."""
    before = files_of(life.data)
    for _ in range(3):
        p = subprocess.Popen([life.sluicectl, "rules", "try", FILE, "--dir", life.data], stdout=subprocess.DEVNULL)
        time.sleep(0.05)
        p.kill()
        p.wait()
    backtest(OTHER)
    assert files_of(life.data) == before


def main():
    p, stats, events = recorded()
    as_it_was(stats, events)
    assert life.ctl("stop")[0] == 0
    life.ended(p, 0)
    time.sleep(0.01)
    to = str(int(time.time() * 1000))
    p = life.start()
    assert life.result("rules", "apply", NONE)["generation"] == 2
    alert_by_alert(to)
    others(to)
    ranges()
    beside_canary()
    assert life.ctl("stop")[0] == 0
    life.ended(p, 0)
    killed()


life.run(main)
