"""The life of rules under live traffic and kill -9: `rules apply`, `canary`, `promote`, `canary --stop` and
`rollback`, killed at each of their steps and at random, with `rules try` beside them. After each start exactly the
ruleset before or the one after is in force, whole, with its canary.

Shown of what survived: each event has the hits that the rules of its block's generation give it, all of them and no
other (the rules are three sets that have no rule in common, so a mixture would be seen); no canary has alerted or
tagged; alerts in Kafka and ClickHouse are those of an offline replay; generations rise along each partition, but for
a batch of the worker that changes over last; a rule with state that was promoted went on with what it had gathered,
over a kill."""
import collections
import json
import os
import subprocess
import sys
import threading
import time

from alerts import check_alerts
from chaos import Killer
from daemon import UDP_PORT, Daemon, now_ms
from netns import TARGET, Sender
from rig import Rig, say, wait_until
from scenarios import Scenarios
from windows import settle, stopped

POINTS = ("rules_stored", "rules_switched", "rules_audited", "rules_noted", "rules_remembered")
OPERATIONS = ("apply", "canary", "promote", "rollback", "stop")
COUNTRIES = ("US", "DE", "FR", "GB", "BR", "IN", "NG")
TYPES = ("click", "page_view")
MIX = dict(mix="all", rate=1200, events_per_datagram=4, flows=16, users=300, pages=200, dup_permille=20, bad_permille=5)
# id of the set: its order of countries, what else its rules ask for, and how many visits its `busy` wants
SETS = {"a": (COUNTRIES, None, "/"), "b": (COUNTRIES[::-1], "mobile", "/h"), "c": (COUNTRIES[3:] + COUNTRIES[:3],
                                                                                    "desktop", "/p")}


def own_pages(name):
    """What e2e-canary counts: of set b all that the tests send."""
    return "/e2e/" if name == "b" else f"/e2e/{name}"


def rules_of(name):
    """The set's rules in their order: (id, whether it matches an event)."""
    countries, device, prefix = SETS[name]

    def tests(country):
        return lambda e: e.get("country") == country and device in (None, e.get("device"))

    return [(f"{name}-{c.lower()}", tests(c)) for c in countries] + [
        ("busy", lambda e: e.get("page", "").startswith(prefix)),
        ("e2e-canary", lambda e: e.get("page", "").startswith(own_pages(name)))]


def rules_write(rig, name):
    countries, device, prefix = SETS[name]
    text = "rules:\n"
    for c in countries:
        more = f", device: {device}" if device else ""
        then = "[alert, tag]" if c == "NG" else "drop" if c == "IN" and name == "c" else "tag"
        text += (f"- {{id: {name}-{c.lower()}, when: {{type: {{in: [click, page_view]}}, country: {c}{more}}}, "
                 f"then: {then}}}\n")
    text += (f"- {{id: busy, when: {{type: {{in: [click, page_view]}}, page: {{prefix: {prefix}}}}}, by: user_id, "
             "count: {at_least: 6, within: 10s}, suppress: 3s, then: [alert]}\n")
    text += (f"- {{id: e2e-canary, when: {{type: {{in: [click, page_view]}}, page: {{prefix: "
             f"{own_pages(name)}}}}}, by: user_id, count: {{at_least: 5, within: 10m}}, "
             "suppress: 30m, then: [alert]}\n")
    with open(rig.path(f"{name}.yaml"), "w", encoding="utf-8") as f:
        f.write(text)
    return rig.path(f"{name}.yaml")


def state_of(daemon):
    """(set in force, set of the canary or None) as `rules list` has them; whole sets only."""
    listed = daemon.ctl("rules", "list") or {"rules": []}
    found = []
    for mode in ("in force", "canary"):
        ids = [r["id"] for r in listed["rules"] if r["mode"] == mode]
        name = next((s for s in SETS if ids == [rule for rule, _ in rules_of(s)]), None)
        if ids and not name:
            return ("a mixture", ids)
        found.append(name)
    return tuple(found)


class Life:
    """Changes of rules, each killed at a step of its own."""

    def __init__(self, rig, killer):
        self.rig, self.killer, self.daemon = rig, killer, killer.daemon
        self.paths = {name: rules_write(rig, name) for name in SETS}
        self.reached, self.may = collections.Counter(), None  # may: what was killed last, states before and after

    def other(self, *names):
        return self.rig.random.choice([s for s in SETS if s not in names])

    def command(self, operation, now):
        """The words of an operation, and the states that may be there after it; what has to be so first is."""
        in_force, canary = now
        if operation in ("promote", "stop") and not canary:
            canary = self.other(in_force)
            self.rig.expect(self.daemon.ctl("rules", "canary", self.paths[canary]), "a canary to end")
        now = (in_force, canary)
        if operation == "promote":
            return ("promote",), now, (canary, None)
        if operation == "stop":
            return ("canary", "--stop"), now, (in_force, None)
        if operation == "rollback":
            return ("rollback",), now, (in_force, None) if canary else None
        name = self.other(in_force, canary)
        return (operation, self.paths[name]), now, (name, None) if operation == "apply" else (in_force, name)

    def start(self, operation, point):
        """Up, armed for the operation; the one before must have left one of two rulesets."""
        self.rig.expect(self.killer.start(f"{point}:1" if point else None), "up again")
        now = state_of(self.daemon)
        if self.may:
            words, may = self.may
            good = now in may or (None in may and now[0] in SETS and not now[1])
            self.rig.expect(good, f"{words}: before {may[0]}, after {may[1]}, now {now}")
        if operation in ("promote", "stop") and not now[1] and point:
            self.daemon.kill()  # the canary that is begun first passes the step, too
            self.killer.start(f"{point}:2")

    def strike(self, operation, point):
        """An operation that is killed at this step, or, None, after some time."""
        self.start(operation, point)
        words, before, after = self.command(operation, state_of(self.daemon))
        job = threading.Thread(target=self.daemon.ctl, args=("rules", *words))
        job.start()
        if point:
            self.reached[operation] += self.killer.strike(f"{operation} at {point}", limit=90.0).reached
        else:
            time.sleep(self.rig.random.uniform(0, 0.15))
            self.daemon.kill()
        job.join()
        self.may = (f"{operation}, killed at {point or 'random'}", (before, after))

    def run(self):
        for point in (*POINTS, None):
            for operation in OPERATIONS:
                self.strike(operation, point)
        self.start(None, None)
        self.rig.expect(self.reached == {o: len(POINTS) for o in OPERATIONS}, f"steps reached: {dict(self.reached)}")


class Trier(threading.Thread):
    """`rules try` again and again on the journal that is being written, over kills and starts."""

    def __init__(self, rig, daemon, path):
        super().__init__(daemon=True)
        self.ending, self.count, self.failed = threading.Event(), 0, []
        self.words = [rig.program("sluicectl"), "rules", "try", path, "--dir", daemon.data, "--last", "10s"]

    def run(self):
        while not self.ending.wait(1.5):
            done = subprocess.run(self.words, capture_output=True, text=True, timeout=120, check=False)
            self.count += 1
            if done.returncode:
                self.failed.append(done.stderr.strip())

    def end(self, rig):
        self.ending.set()
        self.join(120)
        rig.expect(self.count > 10 and not self.failed, f"{self.count} times `rules try` meanwhile {self.failed[:2]}")


def visits(scenarios, user, page, count):
    now = now_ms()
    scenarios.send(*(scenarios.event("click", now + i, user_id=user, page=page) for i in range(count)))


def canary_row(daemon, rule):
    return {r["id"]: r for r in (daemon.ctl("rules", "stats") or {}).get("canary", [])}.get(rule, {})


def promoted_state(rig, daemon, killer, scenarios, life):
    """What a rule gathers as a canary counts when it is promoted; what it would have alerted on does not come out."""
    rig.expect(daemon.ctl("rules", "apply", life.paths["a"]), "set a in force")
    rig.expect(daemon.ctl("rules", "canary", life.paths["b"]), "set b as a canary")
    visits(scenarios, "promoted", "/e2e/b/x", 3)
    visits(scenarios, "silent", "/e2e/b/y", 6)
    visits(scenarios, "loud", "/e2e/a/z", 5)
    rig.expect(wait_until(lambda: canary_row(daemon, "e2e-canary").get("hits") == 14, 60, "the canary's hits"),
               "the canary sees them all")
    row = canary_row(daemon, "e2e-canary")
    rig.expect((row.get("would_alert"), row.get("alerted_in_force"), row.get("hits_in_force"), row.get("suppressed")) ==
               (2, 1, 5, 1), f"rules stats: would have alerted 2 times, in force once: {row}")
    wait_until(lambda: canary_row(daemon, "b-us").get("hits"), 60, "a hit of the generator's events")
    row = canary_row(daemon, "b-us")
    rig.expect(row.get("change") == "new" and row.get("hits") > 0 and row.get("would_alert") == 0, f"b-us: {row}")
    text = daemon.ctl("metrics")["text"]
    rig.expect('sluice_canary_alerts_total{rule="e2e-canary"} 2' in text.splitlines(), "so do the metrics")
    daemon.kill()
    rig.expect(killer.start() and state_of(daemon) == ("a", "b"), "the canary is there after a kill")
    rig.expect(wait_until(lambda: canary_row(daemon, "e2e-canary").get("would_alert") == 2, 60, "state"),
               "with its numbers")
    rig.expect(daemon.ctl("rules", "promote"), "promoted")
    daemon.kill()
    rig.expect(killer.start() and state_of(daemon) == ("b", None), "killed right after that: it is in force")
    visits(scenarios, "promoted", "/e2e/b/x", 2)
    visits(scenarios, "silent", "/e2e/b/y", 1)
    return {"user_id=promoted", "user_id=loud"}


def stored_sets(daemon):
    """{generation: (set in force, set of the canary)} of the files in the store."""
    found = {}
    for name in os.listdir(os.path.join(daemon.data, "rulesets")):
        sets = {"file": None, "canary-file": None}
        with open(os.path.join(daemon.data, "rulesets", name), encoding="utf-8") as f:
            for line in f:
                kind = line.split()[1:2]
                if line.startswith("# ") and kind and kind[0] in sets and " name=" in line:
                    sets[kind[0]] = os.path.basename(line.split("name=")[1].strip())[0]
        found[int(name.split(".")[0])] = (sets["file"], sets["canary-file"])
    return found


def hits_wanted(sets, event):
    """Hit indexes: rules in force, then those of the canary, of which only the ones with state are hits."""
    rules, canary = rules_of(sets[0]), rules_of(sets[1]) if sets[1] else []
    return [i for i, (_, holds) in enumerate(rules) if holds(event)] + [
        len(rules) + i for i, (rule, holds) in enumerate(canary) if rule in ("busy", "e2e-canary") and holds(event)]


def check_journal(rig, daemon):
    """Every event against the rules of its block's generation."""
    sets, wrong, seen, last = stored_sets(daemon), [], collections.Counter(), {}
    dump = subprocess.Popen([rig.program("sluicectl"), "--json", "journal", "dump", "--dir", daemon.data + "/journal"],
                            stdout=subprocess.PIPE)
    for line in dump.stdout:
        record = json.loads(line)
        if record["kind"] != "event":
            continue
        generation, place = record["generation"], record["partition"]
        want = []
        if record["type"] in TYPES:
            want = hits_wanted(sets[generation], json.loads(record["payload"]))
        # One behind: a batch of the worker that changed over last.
        if record["hits"] != want or generation < last.get(place, 0) - 1:
            wrong.append((place, record["offset"], generation, sets[generation], record["hits"], want))
        seen[generation] += 1
        last[place] = max(generation, last.get(place, 0))
    rig.expect(dump.wait() == 0 and not wrong, f"{sum(seen.values())} events under {len(seen)} generations, each with "
               f"the hits of its own {wrong[:2] or ''}")
    rig.expect(len(seen) > 20 and any(sets[g][1] for g in seen), f"{sum(bool(sets[g][1]) for g in seen)} with canaries")
    return sets


def check_history(rig, changes, sets):
    actions = collections.Counter(c["action"] for c in changes)
    rig.expect(all(actions[a] for a in ("start", "apply", "canary", "promote", "canary-stop", "rollback")) and
               all(c["uid"] == os.getuid() for c in changes) and changes[-1]["action"] == "start",
               f"the trail has who did what: {dict(actions)}")
    broken = [(a, b) for a, b in zip(changes[1:], changes) if a["to"] != b["from"]]
    rig.expect(not broken, f"each change leads on from the one before {broken[:1] or ''}")
    rig.expect(set(sets) >= {c["to"] for c in changes}, "every generation of the trail is kept: the journal names them")


with Rig(sys.argv[1], kafka=1, clickhouse=True, root=True) as rig:
    sender = Sender(rig)
    os.mkdir(rig.path("rules"))
    os.rename(rules_write(rig, "a"), rig.path("rules", "a.yaml"))
    daemon = Daemon(rig, "life", sender.af_packet(2), time={"out_of_orderness": "2s", "tick": "200ms"},
                    rules={"dir": rig.path("rules")}, kafka={"topic_late": "life.late",
                                                             "topic_aggregates": "life.window."},
                    state={"enabled": True, "step": "500ms", "checkpoint_every": "300ms", "checkpoints_kept": 2})
    killer, scenarios = Killer(rig, daemon), Scenarios(rig, sender, (TARGET[4], str(UDP_PORT)))
    rig.expect(killer.start() and state_of(daemon) == ("a", None), "sluiced runs")
    gen = sender.gen("live", 4, UDP_PORT, seed=rig.seed, **MIX)
    rig.expect(wait_until(lambda: daemon.counter("events") > 1000, 60, "traffic"), "traffic arrives")
    life, trier = Life(rig, killer), Trier(rig, daemon, rig.path("b.yaml"))
    trier.start()
    daemon.kill()
    life.run()
    alerted = promoted_state(rig, daemon, killer, scenarios, life)
    trier.end(rig)
    time.sleep(1)
    rig.gen_stop("live", gen)
    settle(rig, daemon, now_ms() + 2000)
    changes = daemon.ctl("rules", "history", "--last", "1000")["changes"]
    daemon.stop_well("life of rules")
    rig.expect(not stopped(daemon), f"no partition's replay ever differed {stopped(daemon)[:2] or ''}")

    sets = check_journal(rig, daemon)
    check_history(rig, changes, sets)
    alerts = check_alerts(rig, daemon)
    mine = sorted(a["key"] for a in alerts if a["rule_id"] == "e2e-canary")
    rig.expect(mine == sorted(alerted), f"alerts of the promoted rule: {mine}")
    rig.expect(sum(a["rule_id"] == "busy" for a in alerts) > 10, f"{len(alerts)} alerts of rules with state")
    rig.verify(daemon, "raw events, tags and alerts of single events")
    say(f"{len(killer.kills)} kills at {len(POINTS)} steps of {len(OPERATIONS)} commands")
rig.done()
