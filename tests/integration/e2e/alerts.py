"""Alerts of rules with state in each place where they must be."""
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
    kafka = [text for text in kafka if "value" in json.loads(text)]  # not those of rules on single events
    rig.expect(sorted(kafka) == sorted(lines), f"Kafka = replay, text by text: {len(kafka)} of {len(lines)}, differing "
               f"{sorted(set(kafka) ^ set(lines))[:2]}")
    rows = rig.clickhouse.query(
        f"SELECT toString(alert_id), rule_id, key, generation, toUnixTimestamp64Milli(first_time), "
        f"toUnixTimestamp64Milli(last_time), value FROM {daemon.name}.alerts WHERE value IS NOT NULL "
        "FORMAT JSONCompactEachRow SETTINGS output_format_json_quote_64bit_integers = 0").splitlines()
    have = sorted(map(tuple, map(json.loads, rows)))
    want = sorted(tuple(a[k] for k in ("alert_id", "rule_id", "key", "generation", "first_time", "last_time", "value"))
                  for a in alerts.values())
    rig.expect(have == want, f"ClickHouse = replay: {len(have)} of {len(want)}, differing "
               f"{sorted(set(have) ^ set(want))[:2]}")
    return list(alerts.values())
