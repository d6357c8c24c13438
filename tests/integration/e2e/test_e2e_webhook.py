"""The webhook sink: alerts of rules over single events and of stateful ones, to a receiver that checks as Alertmanager
does, to one that misbehaves in every way, over TLS, through kill -9, and to the real Alertmanager.

Shown: each alert whose event is in the journal arrives, at least once and always under the same id; what is refused for
good is counted and passed, alone; what may be taken later is sent until it is; nobody is believed without his
certificate; the ledger balances."""
import json
import os
import shutil
import subprocess
import sys
import time

from alert_receiver import POISON, Alertmanager, Receiver, certificate
from chaos import Killer
from daemon import UDP_PORT, Daemon, now_ms
from netns import TARGET, Sender
from rig import Rig, wait_until
from scenarios import Scenarios

RULES = """rules:
  - {id: w-single, title: "One \\"event\\"", severity: high, when: {page: {prefix: /w/single}}, then: [alert]}
  - {id: w-low, severity: low, when: {page: {prefix: /w/single}}, then: [alert]}
  - id: w-state
    severity: critical
    when: {page: {prefix: /w/state}}
    by: user_id
    suppress: 1s
    then: [alert]
"""
POINTS = ("webhook_sent", "webhook_answered")
MODES = ("late", "drip", "huge", "garbage", "close", "500", "429", "401", "301")


class Alerts:
    """Sends events that alert, and knows what must come of those that are in the journal."""

    def __init__(self, rig, sender):
        self.rig, self.number = rig, 0
        self.scenarios = Scenarios(rig, sender, (TARGET[4], str(UDP_PORT)))

    def send(self, count, who="u"):
        for _ in range(count):
            self.number += 1
            for page in ("/w/single", "/w/state"):
                self.scenarios.send(self.scenarios.event("page_view", now_ms(), user_id=f"{who}-{self.number}",
                                                         page=page))

    def wanted(self, daemon, poison=False):
        """(rule, key) of the journal's events; sluiced must not run."""
        out = set()
        for p in range(4):
            dump = subprocess.run([self.rig.program("sluicectl"), "--json", "journal", "dump", "--dir",
                                   os.path.join(daemon.data, "journal"), "--partition", str(p)], capture_output=True,
                                  text=True, timeout=60, check=True).stdout
            for line in dump.splitlines():
                rec = json.loads(line)
                if rec["kind"] != "event":
                    continue
                event = json.loads(rec["payload"])
                user = event["user_id"]
                if (POISON in user) == poison:
                    out.add(("w-single", user) if "single" in event["page"] else ("w-state", f"user_id={user}"))
        return out


def make(rig, sender, name, url, **more):
    daemon = Daemon(rig, name, sender.af_packet(1), workers=1, sinks=False)
    daemon.config["rules"] = {"dir": rig.path("rules")}
    daemon.config["state"] = {"defaults": False}
    daemon.config["webhook"] = {"enabled": True, "url": url, "timeout": "1s", "retry_max": "300ms", "batch": 20,
                                "severity_min": "medium", **more}
    return daemon


def parts(daemon):
    return (daemon.ctl("sinks") or {}).get("sinks", [])


def total(daemon, key):
    return sum(p[key] for p in parts(daemon))


def drained(daemon):
    """All that was durable at the first look is passed: ticks, which come all the time, are written down later."""
    goal = {}

    def done():
        have = {(p["sink"], p["partition"]): p for p in parts(daemon)}
        if not goal:
            goal.update((key, p["position"] + p["lag_events"]) for key, p in have.items())
        return have and all(have[key]["position"] >= end for key, end in goal.items())

    return wait_until(done, 150, "the webhook")


def wait_passed(daemon, alerts, held=True):
    """Until the webhook has had what alerts.send() has sent, of either log; that all of it is there is seen later."""
    wait_until(lambda: total(daemon, "alerts") + total(daemon, "refused") >= 2 * alerts.number and
               (not held or total(daemon, "held") >= alerts.number), 60, "the last alerts")


def check(rig, receiver, wanted, what):
    missing, strange = wanted - set(receiver.got), set(receiver.got) - wanted
    rig.expect(wanted and not missing and not strange,
               f"{what}: {len(wanted)} alerts wanted, missing {sorted(missing)[:3]}, strange {sorted(strange)[:3]}")
    rig.expect(all(len(set(ids)) == 1 for ids in receiver.got.values()), f"{what}: an alert has the same id each time")


def token_write(rig, token):
    with open(rig.path("token"), "w", encoding="ascii", opener=lambda p, f: os.open(p, f, 0o600)) as f:
        f.write(token + "\n")


def misbehaved(rig, sender):
    receiver = Receiver()
    token_write(rig, "s3cret")
    daemon = make(rig, sender, "bad", f"http://{receiver.address}/api/v2/alerts", token_file=rig.path("token"))
    rig.expect(daemon.start(), "sluiced runs")
    alerts = Alerts(rig, sender)
    alerts.send(30)
    for mode in MODES:
        if mode == "401":
            token_write(rig, "n3w")
        with receiver.lock:
            receiver.modes = [mode] * 2
        alerts.send(10)
        rig.expect(wait_until(lambda: not receiver.modes, 90, mode), f"{mode}: tried again")
        if mode == "401":
            rig.expect(wait_until(lambda: "Bearer n3w" in receiver.tokens, 60, "the new token"),
                       "the token is read again, though Retry-After came with the refusal")
    alerts.send(5, POISON)
    alerts.send(20)
    wait_passed(daemon, alerts)
    rig.expect(drained(daemon), "all is sent in the end")
    rig.expect(receiver.tokens == {"Bearer s3cret", "Bearer n3w"}, "the token is sent")
    row = parts(daemon)
    rig.expect(total(daemon, "retries") >= len(MODES), f"tries again are counted: {total(daemon, 'retries')}")
    refused, held = total(daemon, "refused"), total(daemon, "held")
    sent = total(daemon, "alerts")
    ledger = daemon.ctl("ledger")
    rig.expect(ledger and ledger["balanced"], f"the ledger balances: {ledger and ledger.get('unbalanced')}")
    rig.expect({p["sink"] for p in row} == {"webhook", "webhook-output"}, "sluicectl sinks shows both logs")
    daemon.stop_well("bad")
    wanted, poisoned = alerts.wanted(daemon), alerts.wanted(daemon, poison=True)
    check(rig, receiver, wanted, "misbehaving receiver")
    rig.expect(poisoned and refused == len(poisoned), f"refused for good: {refused} of {len(poisoned)} poisoned ones")
    singles = sum(rule == "w-single" for rule, _ in wanted | poisoned)
    rig.expect(held == singles, f"below severity_min: held back {held}, events {singles}")
    rig.expect(sent == len(wanted), f"sent: {sent}")
    rig.expect(receiver.pauses and min(receiver.pauses) >= 1.9, f"Retry-After is kept: {receiver.pauses[:3]}")
    rig.expect(set(receiver.faults) == {"poisoned"}, f"nothing else was wrong with them: {set(receiver.faults)}")


def killed(rig, sender):
    receiver = Receiver()
    daemon = make(rig, sender, "kill", f"http://{receiver.address}/")
    alerts, killer = Alerts(rig, sender), Killer(rig, daemon)

    def round_of(plan, passes, limit):
        up = killer.start(None if plan == "random" else f"{plan}:{passes}")
        for _ in range(6):
            if up and daemon.alive():
                alerts.send(8)
            time.sleep(0.2)
        killer.strike(plan, up, limit=limit)

    for plan in [*POINTS, "random", *POINTS, "random", "random"]:
        round_of(plan, rig.random.randint(2, 6), 4.0)
    for plan in {*POINTS} - {k.plan for k in killer.reached()}:  # a busy machine may be too slow for a late pass
        round_of(plan, 1, 90.0)
    rig.expect(killer.start(), "up again")
    rig.expect(drained(daemon), "the rest is sent")
    rig.expect(len(killer.reached()) >= 2, "kills at the steps of the sink were reached")
    daemon.stop_well("kill")
    check(rig, receiver, alerts.wanted(daemon), "after kills")
    twice = sum(len(ids) > 1 for ids in receiver.got.values())
    print(f"{twice} of {len(receiver.got)} alerts came more than once", flush=True)


def secured(rig, sender):
    cert, key = certificate(rig)
    receiver = Receiver((cert, key))
    daemon = make(rig, sender, "tls", f"https://{receiver.address}/")
    alerts = Alerts(rig, sender)
    rig.expect(daemon.start(), "sluiced runs")
    alerts.send(10)
    rig.expect(wait_until(lambda: any("certificate" in p["error"] for p in parts(daemon)), 90, "the refusal"),
               "a certificate that nobody has signed is refused")
    daemon.stop(seconds=90)
    rig.expect(receiver.requests == 0, "and nothing was sent")
    daemon.config["webhook"]["ca_file"] = cert
    rig.expect(daemon.start() and drained(daemon), "with its authority it is trusted")
    daemon.stop_well("tls")
    check(rig, receiver, alerts.wanted(daemon), "over TLS")


def real(rig, sender):
    manager = Alertmanager(rig, int(os.environ.get("SLUICE_E2E_PORT", "25000")) + 301)
    if not rig.expect(manager.up(), "Alertmanager is up"):
        return
    daemon = make(rig, sender, "real", manager.base + "alerts", rules="w-s*")
    alerts = Alerts(rig, sender)
    rig.expect(daemon.start(), "sluiced runs")
    alerts.send(40)
    wait_passed(daemon, alerts, held=False)
    rig.expect(drained(daemon), "all is sent")
    rig.expect(total(daemon, "refused") == 0, "the real one refuses none")
    daemon.stop_well("real")
    wanted = alerts.wanted(daemon)
    wait_until(lambda: len(manager.alerts()) >= len(wanted), 60, "Alertmanager's list")
    have = {(a["labels"]["alertname"], a["labels"]["key"]): a for a in manager.alerts()}
    rig.expect(wanted == set(have), f"Alertmanager has {len(have)} alerts of {len(wanted)}")
    rig.expect(all(a["status"]["state"] == "active" and a["annotations"]["evidence"] for a in have.values()),
               "they are firing, and name their evidence")


if not shutil.which("prometheus-alertmanager"):
    print("skipped: no prometheus-alertmanager")
    sys.exit(77)
with Rig(sys.argv[1], root=True) as rig:
    os.mkdir(rig.path("rules"))
    with open(rig.path("rules", "w.yaml"), "w", encoding="utf-8") as f:
        f.write(RULES)
    sender = Sender(rig)
    misbehaved(rig, sender)
    killed(rig, sender)
    secured(rig, sender)
    real(rig, sender)
sys.exit(1 if rig.failures else 0)
