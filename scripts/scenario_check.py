"""Alerts of rules with state against the scenarios that sluice-gen has acted out (--scenario-truth).

scenario_check.py [--lossy] CLICKHOUSE_URL FILE...
A line a rule; exit code 1 if a scenario that must alert has no alert of its rule and key or more than one, or if there is
an alert that no scenario accounts for. --lossy: events were lost on the way, so what is missing is shown only."""
import collections
import json
import sys
import urllib.request

QUERY = ("SELECT rule_id, key FROM rt.alerts WHERE value IS NOT NULL AND window = '' "  # of rules with state
         "FORMAT JSONCompactEachRow")


class Verdict:
    """alerts: (rule, key) of each alert of a rule with state."""

    def __init__(self, scenarios, alerts):
        left = collections.Counter(alerts)
        self.expected, self.found, self.silent, self.cut = (collections.Counter() for _ in range(4))
        self.alerts = collections.Counter(rule for rule, _ in left.elements())
        self.missed, self.wrong = [], []
        for s in scenarios:
            have = left.pop((s["rule"], s["key"]), 0)
            if s["expect"] == "cut":  # may have come to its alert or not, but to one only
                self.cut[s["rule"]] += 1
                self.wrong += [s] if have > 1 else []
            elif s["expect"] == "none":
                self.silent[s["rule"]] += not have
                self.wrong += [s] if have else []
            else:
                self.expected[s["rule"]] += 1
                self.found[s["rule"]] += have == 1
                self.missed += [] if have else [s]
                self.wrong += [s] if have > 1 else []
        self.strange = list(left.elements())

    def rules(self):
        return sorted(self.expected.keys() | self.silent.keys() | self.cut.keys() | self.alerts.keys())

    def lines(self):
        yield (f"{'rule with state':22}{'alerts':>8}{'scenarios':>11}{'found':>7}{'just not, silent':>18}"
               f"{'cut off, may alert':>20}")
        for r in self.rules():
            yield (f"{r:22}{self.alerts[r]:>8}{self.expected[r]:>11}{self.found[r]:>7}{self.silent[r]:>18}"
                   f"{self.cut[r]:>20}")
        yield (f"scenarios: {self.expected.total()} to be found, {self.found.total()} found, {len(self.missed)} missed; "
               f"{self.silent.total()} that must not alert are silent; {self.cut.total()} were cut off by the end and may "
               f"have alerted; alerts without a scenario: {len(self.strange)}, wrong ones: {len(self.wrong)}")
        for what, items in (("missed", self.missed), ("wrong", self.wrong)):
            for s in items[:5]:
                yield f"  {what}: {s['rule']} {s['key']}, {s['expect']}, events {s['first_ms']} to {s['last_ms']}"
        for rule, key in self.strange[:5]:
            yield f"  without a scenario: {rule} {key}"


def read(*paths):
    for path in paths:
        with open(path, encoding="utf-8") as f:
            yield from map(json.loads, f)


def main(args):
    lossy = args[:1] == ["--lossy"]
    url, *paths = args[lossy:]
    with urllib.request.urlopen(url, data=QUERY.encode(), timeout=60) as answer:
        alerts = [tuple(json.loads(line)) for line in answer]
    verdict = Verdict(read(*paths), alerts)
    print("\n".join(verdict.lines()), flush=True)
    return 0 if not verdict.wrong and not verdict.strange and (lossy or not verdict.missed) else 1


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
