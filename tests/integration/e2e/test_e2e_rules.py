"""Rules with state, end to end: count by the partition key, distinct values under another key (shadow records), a
sequence in event time, suppression alone; events of every type and, between them, scenarios whose alerts are known
(scenarios.py). sluiced is killed meanwhile at steps of the state stage and at random, right after `rules apply`, and in
the middle of one; over that change one rule keeps its state and one is new.

Shown: alerts in Kafka, in ClickHouse and of an offline replay of the journal that survived are the same, each once;
every scenario whose events are in the journal has its alert, and those rules no other; shadows are counted apart and
are in no raw topic or table."""
import collections
import itertools
import json
import os
import subprocess
import sys
import threading
import time

from alerts import check_alerts
from chaos import KAFKA_POINTS, Killer
from daemon import UDP_PORT, Daemon, now_ms
from netns import TARGET, Sender
from rig import Rig, say, wait_until
from scenarios import ROUTED, SHADOWED, Scenarios, rules_text
from windows import messages, settle, stopped

POINTS = ("state_batch_sealed", "state_output_durable", "state_checkpoint_written", "journal_write_completed")
MIX = dict(mix="all", rate=1500, events_per_datagram=4, flows=16, users=400, pages=300, dup_permille=20,
           utf8_permille=20, bad_permille=5, disorder_ms=300)
SCENARIOS_LEAST = 200  # some of them are cut by kills


def rules_write(rig, version, with_sum):
    path = rig.path(f"rules{version}.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(rules_text(version, with_sum))
    return path


def state_rules(daemon):
    return {r["id"]: r for r in (daemon.ctl("rules", "stats") or {}).get("stateful", [])}


def in_force(rig, daemon, with_sum):
    """The rules have changed over in every partition."""
    def changed():
        have = state_rules(daemon)
        return ("e2e-sum" in have) == with_sum and have and all(r["partitions"] == 4 for r in have.values())

    return rig.expect(wait_until(changed, 90, "rules"), f"rules with state are in force, new one: {with_sum}")


def rounds(rig, killer, scenarios, plans, with_sum):
    """Scenarios around each kill, some of whose events are lost."""
    for plan in plans:
        point = None if plan == "random" else f"{plan}:{rig.random.randint(2, 12)}"
        up = killer.start(point)  # or the step came before it was up
        ends = time.monotonic() + 1.5
        while up and killer.daemon.alive() and time.monotonic() < ends:
            scenarios.round(with_sum)
            time.sleep(0.2)
        killer.strike(plan, up, limit=4.0)
    rig.expect(killer.start(), "up again")


def round_taken(daemon, scenarios):
    """A round whose events of the new rule have come to its state: with the next change of rules it goes, and what is
    still on its way then is nothing to it."""
    def hits():
        return state_rules(daemon).get("e2e-sum", {}).get("hits", 0)

    before = hits()
    scenarios.round(True)
    wait_until(lambda: hits() >= before + 3, 90, "the new rule's events")


def change_phase(rig, daemon, killer, scenarios):
    """Five events of which three come before the change and a kill, four behind."""
    again, before = rules_write(rig, 2, True), rules_write(rig, 1, False)
    halves = [scenarios.count() for _ in range(20)]
    accepted = daemon.counter("accepted")
    scenarios.send(*(e for half in halves for e in half[:3]))
    wait_until(lambda: daemon.counter("accepted") > accepted + 60, 20, "the first halves")
    rig.expect(daemon.ctl("rules", "apply", again) is not None, "rules applied")
    daemon.kill()
    say("killed right after rules apply")
    rig.expect(killer.start() and in_force(rig, daemon, True), "the applied rules are in force after the kill")
    scenarios.send(*(e for half in halves for e in half[3:]))
    round_taken(daemon, scenarios)
    for _ in range(3):
        job = threading.Thread(target=daemon.ctl, args=("rules", "apply", before))
        job.start()
        time.sleep(rig.random.uniform(0, 0.4))
        daemon.kill()
        job.join()
        say("killed while rules are applied")
        rig.expect(killer.start(), "up again")
        rig.expect(daemon.ctl("rules", "apply", again) is not None and in_force(rig, daemon, True), "applied again")
        round_taken(daemon, scenarios)


class Journal:
    """Ids of the events and of the shadows that survived, and where the shadows are."""

    def __init__(self, rig, daemon):
        self.events, self.shadows, self.places, self.logs = set(), set(), set(), set()
        self.kinds = collections.Counter()
        dump = subprocess.Popen([rig.program("sluicectl"), "--json", "journal", "dump", "--dir",
                                 daemon.data + "/journal"], stdout=subprocess.PIPE)
        for line in dump.stdout:
            record = json.loads(line)
            self.kinds[record["kind"]] += 1
            if record["kind"] == "event":
                self.events.add(record["event_id"])
                if record["type"] == "log":
                    self.logs.add(record["event_id"])
            elif record["kind"] == "shadow":
                self.shadows.add(record["event_id"])
                self.places.add((record["partition"], record["offset"]))
        if dump.wait():
            raise RuntimeError("the journal cannot be read")


def check_scenarios(rig, scenarios, journal, alerts):
    want, cut = scenarios.wanted(journal.events, journal.shadows)
    have = collections.Counter((a["rule_id"], a["key"]) for a in alerts if a["rule_id"].startswith("e2e-"))
    by_rule = collections.Counter(rule for rule, _ in have.elements())
    rig.expect(have == want and len(by_rule) == 5, f"scenarios: {len(scenarios.all)}, {cut} of them cut by kills, "
               f"alerts {dict(by_rule)}, missing {list((want - have).items())[:3]}, strange "
               f"{list((have - want).items())[:3]}")
    rig.expect(len(scenarios.all) - cut > 100, f"{len(scenarios.all) - cut} scenarios are whole")
    ids = {(s.rule, s.key): set(s.ids) for s in scenarios.all}
    wrong = [a for a in alerts if (a["rule_id"], a["key"]) in ids and
             not set(a["event_ids"]) <= ids[(a["rule_id"], a["key"])]]
    rig.expect(not wrong, f"their evidence is their own events {wrong[:1] or ''}")
    busy = collections.Counter(a["rule_id"] for a in alerts if not a["rule_id"].startswith("e2e-"))
    rig.expect(len(busy) == 2 and min(busy.values()) > 20, f"alerts of generated events: {dict(busy)}")
    return by_rule + busy


def check_shadows(rig, daemon, journal):
    """The journal's equations have counted them; raw places do not have them."""
    rows = rig.clickhouse.query(f"SELECT _partition, _offset FROM {daemon.name}.clicks_raw UNION ALL SELECT "
                                f"_partition, _offset FROM {daemon.name}.events_raw FORMAT JSONCompactEachRow "
                                "SETTINGS output_format_json_quote_64bit_integers = 0").splitlines()
    table = {tuple(json.loads(row)) for row in rows}
    topics = set()
    for topic in (f"{daemon.name}.clicks", f"{daemon.name}.platform", ROUTED):
        for headers, _, _ in messages(rig, topic):
            topics.add(tuple(map(int, headers["sluice-address"].split("/")[2:])))
    rig.expect(len(journal.places) > 100 and len(table) == len(rows) == len(topics) == journal.kinds["event"] and
               not journal.places & (table | topics),
               f"{len(journal.places)} shadows are in no raw topic and table; journal {dict(journal.kinds)}, raw "
               f"{len(topics)}, {len(rows)}")


def check_routed(rig, journal):
    """Each event that the rule hits is in its topic, once, with the rule's name; check_shadows() and verify() count it
    among all topics, so that it is in no other."""
    have = [(headers["event-id"], headers.get("rule")) for headers, _, _ in messages(rig, ROUTED)]
    rig.expect(len(have) == len(journal.logs) and set(have) == {(i, "e2e-route") for i in journal.logs} and have,
               f"{len(have)} log events are in {ROUTED}, each once, of {len(journal.logs)}")


def check_stats(rig, daemon, alerts):
    """What `rules stats` and the metrics say of rules that have been in force all the time."""
    stats, metrics = state_rules(daemon), daemon.ctl("metrics")["text"]
    shown = {rule: stats[rule]["alerts"] for rule in alerts if rule != "e2e-sum"}
    rig.expect(shown == {rule: n for rule, n in alerts.items() if rule != "e2e-sum"}, f"rules stats: alerts {shown}")
    lines = [f'sluice_rule_state_alerts_total{{rule="{rule}"}} {n}' for rule, n in shown.items()]
    rig.expect(all(line in metrics.splitlines() for line in lines), "metrics say so, too")
    odd = {r["id"]: r for r in stats.values() if r["evicted"] or r["cut"] or not r["hits"] or not r["partitions"]}
    rig.expect(not odd and stats["e2e-count"]["suppressed"], f"hits, keys: no bound was reached {odd or ''}")


def ledger_shadows(daemon):
    return sum(e["out"].get("journaled_shadows", 0) for e in (daemon.ctl("ledger") or {}).get("equations", []))


with Rig(sys.argv[1], kafka=1, clickhouse=True, root=True) as rig:
    sender = Sender(rig)
    os.mkdir(rig.path("rules"))
    os.rename(rules_write(rig, 0, False), rig.path("rules", "state.yaml"))
    daemon = Daemon(rig, "rules", sender.af_packet(2), time={"out_of_orderness": "5s", "tick": "200ms"},
                    rules={"dir": rig.path("rules")}, kafka={"topic_late": "rules.late",
                                                             "topic_aggregates": "rules.window."},
                    state={"enabled": True, "step": "500ms", "checkpoint_every": "300ms", "checkpoints_kept": 2})
    daemon.config["windows"] = [{"name": "pages", "size": "1s", "by": "country", "types": "click",
                                 "aggregates": "count"}]
    killer, scenarios = Killer(rig, daemon), Scenarios(rig, sender, (TARGET[4], str(UDP_PORT)))
    rig.expect(killer.start() and in_force(rig, daemon, False), "sluiced runs")
    gen = sender.gen("live", 4, UDP_PORT, seed=rig.seed, **MIX)
    rig.expect(wait_until(lambda: daemon.counter("events") > 1000, 60, "traffic"), "traffic arrives")
    killer.strike("random")
    rounds(rig, killer, scenarios, ["random", *POINTS[:2], "random"], False)
    change_phase(rig, daemon, killer, scenarios)
    daemon.kill()
    rounds(rig, killer, scenarios, [*POINTS[2:], rig.random.choice(list(KAFKA_POINTS)), "random"], True)
    rig.expect(in_force(rig, daemon, True), "the rules that were applied last")
    for n in itertools.count():  # none of these is cut by a kill; a slow machine has come to fewer rounds before
        if n >= 5 and len(scenarios.all) >= SCENARIOS_LEAST:
            break
        scenarios.round(True)
        time.sleep(0.1)
    wait_until(lambda: ledger_shadows(daemon) > 0, 60, "shadows in the ledger")
    rig.gen_stop("live", gen)
    settle(rig, daemon, now_ms() + 2000)
    rig.expect(ledger_shadows(daemon) > 0, f"the ledger counts {ledger_shadows(daemon)} shadows apart")
    daemon.stop_well("alerts")
    rig.expect(not stopped(daemon), f"no partition's replay ever differed {stopped(daemon)[:2] or ''}")

    journal = Journal(rig, daemon)
    counts = check_scenarios(rig, scenarios, journal, check_alerts(rig, daemon))
    check_shadows(rig, daemon, journal)
    check_routed(rig, journal)
    daemon.routed = [ROUTED]
    rig.verify(daemon, "raw events")

    rig.expect(daemon.start(), "started again")
    settle(rig, daemon, now_ms() + 1000)
    check_stats(rig, daemon, counts)
    daemon.stop_well("started again")
    say(f"{len(killer.kills)} kills at steps and at random; {SHADOWED} are keyed otherwise")
    rig.expect(len(check_alerts(rig, daemon)) == sum(counts.values()), "nothing new: the same alerts")
rig.done()
