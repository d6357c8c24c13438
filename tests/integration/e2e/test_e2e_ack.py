"""Producers with acknowledgements over a bad wire to a sluiced that is killed: format sluice, without sinks.

Eight producers at a time, sluice-send and the Python client, IPv4 and IPv6, with and without MAC; the wire between
them and sluiced loses a fifth of the frames each way, repeats and reorders others; sluiced is killed at steps of the
journal and at random. Shown: every event, with an event_id or without, is in the journal exactly once, every invalid
one was refused to its producer and is a dead letter; the producers' own counts say the same; the ledger balances.
Then one producer without acknowledgements, and a wire that loses some of its datagrams: `sluicectl producers` says how
many events are missing, exactly."""
import collections
import json
import os
import struct
import subprocess
import sys
import uuid

from bad_wire import BadWire, udp_payload
from chaos import JOURNAL_POINTS, Killer
from daemon import Daemon, now_ms
from netns import TARGET
from rig import SOURCE, Rig, say, wait_until

EVENTS, RATE, INVALID = 6000, 80, 500  # of each producer, for as long as the kills take; of so many one is invalid
PLAIN, SIGNED = 5140, 5141
KEYS = "3 " + "5a" * 32 + "\n200 " + "c3" * 32 + "\n"
KEY = 200


def event(label, i):
    """The i-th event of a producer; half of them without an event_id, a quarter without a partition key."""
    out = {"ts": now_ms()}
    if i % 4 < 2:
        out.update(type="telemetry", device_id=f"{label}-{i % 40}", name=label, value=i)
    else:
        out.update(type="log", source=label, message=str(i))
    if i % 2:
        out["event_id"] = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{label} {i}"))
    if i % INVALID == 0:
        out = {"ts": now_ms(), "type": "telemetry", "name": label, "value": i}
    return json.dumps(out)


def who(payload):
    """(label, i) of an event."""
    fields = json.loads(payload)
    return (fields["name"], int(fields["value"])) if "name" in fields else (fields["source"], int(fields["message"]))


class Producer:
    """One of either client, in the namespace, and what it says in the end."""

    def __init__(self, rig, wire, kind, family, signed):
        self.rig, self.kind = rig, kind
        self.label = f"{kind}{family}{'signed' if signed else 'plain'}"
        with open(rig.path(self.label + ".ndjson"), "w", encoding="ascii") as f:
            f.writelines(event(self.label, i) + "\n" for i in range(EVENTS))
        port = SIGNED if signed else PLAIN
        args = ["--rate", str(RATE), "--timeout", "120", rig.path(self.label + ".ndjson")]
        if signed:
            args = ["--key-file", rig.path("keys"), "--key", str(KEY), *args]
        if kind == "c":
            args = [rig.program("send"), "--to", wire.target(family, port), *args]
        else:
            args = [sys.executable, os.path.join(SOURCE, "tests/integration/e2e/ack_producer.py"), "--to",
                    TARGET[family], str(port), *args]
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *wire.run, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=dict(os.environ, PYTHONPATH=os.path.join(SOURCE, "clients/python")))
        rig.children.append(self.process)

    def end(self):
        out, err = self.process.communicate(timeout=300)
        if self.kind == "c":
            pairs = dict(pair.split("=") for pair in out.split()) if out else {}
            counts = {k: v if k == "producer" else int(v) for k, v in pairs.items()}
            counts["refusals"] = [json.loads(line.split(": ", 2)[2]) for line in err.splitlines()]
        else:
            counts = json.loads(out) if out else {}
            counts["refusals"] = [json.loads(text) for _, _, text in counts.get("refusals", [])]
        bad = EVENTS // INVALID
        want = {"events": EVENTS, "acked": EVENTS - bad, "refused": bad, "unacknowledged": 0, "sent": EVENTS}
        told = sorted(e["value"] for e in counts["refusals"])
        self.rig.expect(self.process.returncode == 2 and all(counts.get(k) == v for k, v in want.items()),
                        f"{self.label}: exit code {self.process.returncode}, "
                        f"{ {k: v for k, v in counts.items() if k != 'refusals'} } {err[-500:] if not counts else ''}")
        self.rig.expect(told == list(range(0, EVENTS, INVALID)), f"{self.label}: was told of each refused event")
        return counts


def records(rig, daemon):
    dump = subprocess.run([rig.program("sluicectl"), "--json", "journal", "dump", "--dir", daemon.data + "/journal"],
                          capture_output=True, text=True, check=True, timeout=120)
    return [r for r in map(json.loads, dump.stdout.splitlines()) if r["kind"] in ("event", "refused")]


def expect_once(rig, found, labels, valid, kind):
    seen = collections.Counter(who(r["payload"]) for r in found if r["kind"] == kind)
    want = {(label, i) for label in labels for i in range(EVENTS) if (i % INVALID != 0) == valid}
    missing, twice = want - seen.keys(), [k for k, n in seen.items() if n > 1]
    return rig.expect(not missing and not twice and seen.keys() == want,
                      f"{len(seen)} of {len(want)} in the journal as {kind}, {len(missing)} missing "
                      f"{sorted(missing)[:5]}, {len(twice)} more than once {sorted(twice)[:5]}")


def daemon_of(rig, wire, name):
    daemon = Daemon(rig, name, wire.af_packet(2), sinks=False)
    daemon.config["listeners"] = [{"name": "plain", "udp_port": PLAIN, "format": "sluice"},
                                  {"name": "signed", "udp_port": SIGNED, "format": "sluice",
                                   "key_file": rig.path("keys")}]
    return daemon


def acked(rig, wire):
    daemon = daemon_of(rig, wire, "acked")
    killer = Killer(rig, daemon)
    plans = killer.plan_points({k: n for k, n in JOURNAL_POINTS.items() if k != "journal_recovery_cut"})
    plans += ["random"] * 4
    rig.random.shuffle(plans)
    wire.loss, wire.twice, wire.late = 0.2, 0.1, 0.2
    if not rig.expect(daemon.start(), "sluiced runs"):
        return
    producers = [Producer(rig, wire, kind, family, signed)
                 for kind in ("c", "python") for family in (4, 6) for signed in (False, True)]
    killer.strike("random")
    for plan in plans:
        killer.run(plan)
    rig.expect(killer.start(), f"up after {len(killer.kills)} kills, {len(killer.reached())} at a named step")
    say(f"{sum(p.process.poll() is None for p in producers)} producers still send after the last kill")
    for producer in producers:
        producer.end()
    say(wire.text())
    rig.expect(min(wire.lost) > 500 and min(wire.doubled) > 100 and min(wire.delayed) > 300, "the wire was bad")
    rig.expect(daemon.wait_quiet(), "all is durable")
    daemon.expect_balanced("after the kills")
    daemon.stop_well("acked")
    found = records(rig, daemon)
    labels = [p.label for p in producers]
    expect_once(rig, found, labels, True, "event")
    expect_once(rig, found, labels, False, "refused")


class Thief:
    """Loses the datagrams with some sequences, and counts their events."""

    def __init__(self, *ranges):
        self.ranges, self.events, self.datagrams = ranges, 0, 0

    def __call__(self, frame):
        data = udp_payload(frame)
        if data[:4] != b"SLCE":
            return False
        first, count = struct.unpack_from("<QH", data, 16)
        steals = any(first in r for r in self.ranges)
        self.events += count if steals else 0
        self.datagrams += steals
        return steals


def unacked(rig, wire, family):
    """No acknowledgement, and losses at the beginning and in the middle."""
    daemon = daemon_of(rig, wire, f"unacked{family}")
    thief = Thief(range(1, 2), range(1000, 1200), range(2500, 2501), range(2600, 2700))
    wire.loss = wire.twice = wire.late = 0.0
    wire.on_data = thief
    wire.kernel_drops()
    with open(rig.path("unacked.ndjson"), "w", encoding="ascii") as f:
        f.writelines(event("unacked", i) + "\n" for i in range(1, EVENTS + 1) if i % INVALID)
    sent = EVENTS - EVENTS // INVALID
    if not rig.expect(daemon.start(), "sluiced runs"):
        return
    done = subprocess.run([*wire.run, rig.program("send"), "--to", wire.target(family, PLAIN), "--no-ack", "--rate",
                           "3000", rig.path("unacked.ndjson")], capture_output=True, text=True, timeout=180,
                          check=False)
    rig.expect(done.returncode == 0 and f"sent={sent} " in done.stdout, f"sluice-send: {done.stdout}{done.stderr}")
    rig.expect(wait_until(lambda: daemon.counter("events") >= sent - thief.events, 90, "events"), "the rest arrives")
    rig.expect(daemon.wait_quiet(), "all is durable")
    rig.expect(wire.kernel_drops() == 0, f"only the test loses: {thief.events} events in {thief.datagrams} datagrams")
    shown = daemon.ctl("producers") or {}
    mine = [p for p in shown.get("producers", []) if p["producer"] in done.stdout]
    rig.expect(len(mine) == 1, f"producers: {shown}")
    for p in mine:  # what was lost before the first that came is only to be seen by where it begins
        rig.expect(p["missing"] + p["first"] - 1 == thief.events > 100 and p["first"] > 1,
                   f"from {p['first']} on {p['missing']} are missing")
        rig.expect(p["events"] == sent - thief.events and not p["repeated"] and not p["open"] and not p["dropped"],
                   f"producer: {p}")
    daemon.expect_balanced("with losses")
    daemon.stop_well("unacked")
    rig.expect(len(records(rig, daemon)) == sent - thief.events, "and the journal has the rest")


with Rig(sys.argv[1], root=True) as rig:
    with open(os.open(rig.path("keys"), os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as f:
        f.write(KEYS)
    wire = BadWire(rig)
    acked(rig, wire)
    unacked(rig, wire, 4)
    unacked(rig, wire, 6)
rig.done()
