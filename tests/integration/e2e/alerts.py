"""Alerts of rules with state, compared: Kafka, ClickHouse, and an offline replay of the journal that is there."""
import json
import subprocess

from windows import messages


def replayed(rig, daemon):
    path = rig.path("replay.jsonl")
    subprocess.run([rig.program("sluicectl"), "replay", "--dir", daemon.data, "--rows", "partial", "--out", path],
                   check=True, timeout=120, stdout=subprocess.DEVNULL)
    with open(path, encoding="utf-8") as f:
        return [line for line in f.read().splitlines() if '"alert_id"' in line]


def check_alerts(rig, daemon):
    """Replay = Kafka = ClickHouse. Returns the alerts."""
    lines = replayed(rig, daemon)
    alerts = {}
    for line in lines:
        alert = json.loads(line)
        alerts[alert["alert_id"]] = alert
    rig.expect(lines and len(alerts) == len(lines), f"replay: {len(lines)} alerts, {len(alerts)} different ids")
    kafka = [value.decode() for _, _, value in messages(rig, daemon.name + ".alerts")]
    kafka = [value for value in kafka if "/" not in json.loads(value)["alert_id"]]  # else: of one event, by its address
    rig.expect(sorted(kafka) == sorted(lines), f"Kafka = replay, text by text: {len(kafka)} of {len(lines)}, differing "
               f"{sorted(set(kafka) ^ set(lines))[:2]}")
    rows = rig.clickhouse.query(
        f"SELECT toString(alert_id), rule_id, key, generation, toUnixTimestamp64Milli(first_time), "
        f"toUnixTimestamp64Milli(last_time), value, evidence_total, event_ids, evidence FROM {daemon.name}.alerts "
        "FORMAT JSONCompactEachRow SETTINGS output_format_json_quote_64bit_integers = 0").splitlines()
    have = sorted(row for row in map(json.loads, rows) if "/" not in row[0])
    names = ("alert_id", "rule_id", "key", "generation", "first_time", "last_time", "value", "evidence_total",
             "event_ids")
    want = sorted([a[k] for k in names] + [[e or "" for e in a["evidence"]]] for a in alerts.values())
    rig.expect(have == want, f"ClickHouse = replay: {len(have)} of {len(want)}, differing "
               f"{[x for x in have if x not in want][:1]} {[x for x in want if x not in have][:1]}")
    return list(alerts.values())
