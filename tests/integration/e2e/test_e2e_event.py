"""`sluicectl event` against the running daemon with a real broker and the real engine, and against its files alone.

Shown: an event is found by its id and by its address, with its place, times, key and rules; the alert of a rule on it
and the alert of a rule over time are there; it is `not yet` at a sink that is frozen and `committed` at the other, and
once both say so, it is in the topic and in the table that are named; of an alert on events that came without an id
each is found by the id that the alert names, which is that of the table; a refused and a suppressed event say what they
are; ids that are not there, and addresses of another journal, are refused; offline the same place is found."""
import json
import os
import signal
import subprocess
import sys
import uuid

from daemon import Daemon, now_ms
from netns import TARGET, Sender
from rig import Rig, wait_until

PORT = 9001
RULES = """rules:
- {id: evil, title: Evil page, severity: high, when: {page: {contains: evil}}, then: [alert, tag]}
- {id: quiet, when: {page: {contains: quiet}}, then: [drop]}
- {id: seen-quiet, when: {page: {contains: quiet}}, then: [alert]}
- {id: thrice, title: Three times, when: {type: click}, by: user_id, count: {at_least: 3, within: 60s}, then: [alert]}
- {id: from-land, title: No names, when: {page: {contains: nameless}}, by: country, count: {at_least: 3, within: 60s},
   then: [alert]}
"""


def click(page, user="u1"):
    return {"type": "click", "event_id": str(uuid.uuid4()), "user_id": user, "ts": now_ms(), "page": page}


def plain_send(sender, events):
    code = ("import json, socket, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "for p in json.load(sys.stdin): s.sendto(p.encode(), (sys.argv[1], int(sys.argv[2])))")
    subprocess.run([*sender.run, sys.executable, "-c", code, TARGET[4], str(PORT)], check=True, timeout=60,
                   input=json.dumps([e if isinstance(e, str) else json.dumps(e) for e in events]), text=True)


def sink_of(answer, name):
    return next((s for s in answer["sinks"] if s["sink"] == name), {})


def check_places(rig, daemon, event):
    """Where it says it is, there it is."""
    answer = daemon.ctl("event", event["event_id"])
    kafka, table = sink_of(answer, "kafka"), sink_of(answer, "clickhouse")
    record = answer["records"][0]
    rig.expect(kafka["state"] == table["state"] == "committed" and kafka["target"] == "event.clicks"
               and table["target"] == "event.clicks_raw", f"both sinks have it: {kafka} {table}")
    out = subprocess.run(["kcat", "-b", rig.kafka.brokers, "-X", "isolation.level=read_committed", "-C", "-t",
                          kafka["target"], "-e", "-q", "-f", "%h %s\\n"], capture_output=True, timeout=120, check=True)
    lines = out.stdout.decode().splitlines()
    rig.expect(any(record["address"] in line and event["event_id"] in line for line in lines),
               "the topic has its address")
    count = rig.clickhouse.query(f"SELECT count() FROM {table['target']} WHERE event_id = '{event['event_id']}' AND "
                                 f"_offset = {record['offset']} AND _partition = {record['partition']}")
    rig.expect(count.strip() == "1", "and so has the table")


def nameless_send(sender):
    """Of users in several partitions, whom a rule looks at by country; some have an id of their own."""
    events = [{**click("/nameless", f"n{i}"), "country": "NZ"} for i in range(12)]
    for e in events[:10]:
        del e["event_id"]
    plain_send(sender, events)
    return len(events)


def check_nameless(rig, daemon):
    """From an alert to its events, and back."""
    rows = []

    def on_disk():
        folder = daemon.data + "/journal"
        dump = subprocess.run([rig.program("sluicectl"), "--json", "journal", "dump", "--dir", folder],
                              capture_output=True, text=True, check=True, timeout=60).stdout
        rows[:] = [r for r in map(json.loads, dump.splitlines()) if r["kind"] in ("event", "shadow")]
        return sum(r["kind"] == "shadow" for r in rows) >= 12 and sum(r["flags"] & 1 for r in rows
                                                                      if r["kind"] == "event") >= 10

    wait_until(on_disk, 60, "the records")  # a worker has counted them before
    shadows = [r["event_id"] for r in rows if r["kind"] == "shadow"]
    made = {r["event_id"] for r in rows if r["kind"] == "event" and r["flags"] & 1}
    rig.expect(len(made) == 10 and len(set(shadows)) == len(shadows) == 12 and made < set(shadows),
               f"shadows have the ids that were made: {len(made)} {len(set(shadows))}")

    def alert_ids():
        return {a["alert_id"] for i in shadows for a in daemon.ctl("event", i)["alerts"] if a["rule"] == "from-land"}

    rig.expect(wait_until(lambda: len(alert_ids()) == 10, 90, "alerts"), f"ten alerts name these events: {alert_ids()}")
    for alert_id in alert_ids():
        ids = daemon.ctl("alerts", "show", alert_id)["event_ids"]
        rig.expect(len(set(ids)) == len(ids) >= 3 and set(ids) <= set(shadows), f"the alert's events: {ids}")
        for i in ids:
            answer = daemon.ctl("event", i)
            records = answer["records"]
            rig.expect([r["event_id"] for r in records] == [i] and records[0]["key"][0] == "n" and
                       records[0]["id_made"] == (i in made) and
                       alert_id in {a["alert_id"] for a in answer["alerts"]}, f"found by its id: {answer}")
    rig.expect(daemon.drain(), "all is delivered")
    found = rig.clickhouse.query(
        "SELECT uniqExact(event_id) FROM event.clicks_raw WHERE event_id IN (SELECT arrayJoin(event_ids) FROM "
        "event.alerts WHERE rule_id = 'from-land')")
    rig.expect(found.strip() == "12", f"the table has the ids of the alerts' events: {found.strip()}")


with Rig(sys.argv[1], kafka=1, clickhouse=True, root=True) as rig:
    sender = Sender(rig)
    os.mkdir(rig.path("rules"))
    with open(rig.path("rules", "rules.yaml"), "w", encoding="utf-8") as f:
        f.write(RULES)
    daemon = Daemon(rig, "event", sender.af_packet(), rules={"dir": rig.path("rules")})
    daemon.config["listeners"] = [{"name": "a", "udp_port": PORT, "format": "json"}]
    rig.expect(daemon.start(), "sluiced runs")
    first = [click("/evil"), click("/ok"), click("/ok")]
    plain_send(sender, [*first, click("/quiet", "u2"), '{"type":"click","user_id":"u3"'])
    rig.expect(wait_until(lambda: daemon.counter("events") == 5, 60, "events") and daemon.drain(), "all is delivered")
    evil = daemon.ctl("event", first[0]["event_id"].upper())
    record = evil["records"][0]
    rig.expect(len(evil["records"]) == 1 and record["kind"] == "event" and record["type"] == "click" and
               record["key"] == "u1" and record["event_time_ms"] == first[0]["ts"] and record["udp_port"] == PORT and
               record["source"].startswith("192.0.2.1:"), f"the record: {record}")
    rules = {r["rule"] for r in evil["rules"]}
    rig.expect(rules == {"evil", "thrice"}, f"its rules: {rules}")

    def alerts():
        return {(a["rule"], a["log"]) for a in daemon.ctl("event", first[0]["event_id"])["alerts"]}

    rig.expect(wait_until(lambda: alerts() == {("evil", "journal"), ("thrice", "output")}, 90, "alerts"),
               f"its alerts, of both logs: {alerts()}")
    for alert in daemon.ctl("event", first[0]["event_id"])["alerts"]:
        shown = daemon.ctl("alerts", "show", alert["alert_id"])
        rig.expect(shown is not None, f"{alert['rule']}: the id is an alert's")
    rig.expect(daemon.ctl("event", record["address"])["records"] == evil["records"], "by its address the same")
    check_places(rig, daemon, first[0])

    before = daemon.counter("events")
    sent = nameless_send(sender)
    rig.expect(wait_until(lambda: daemon.counter("events") == before + sent, 60, "events"), "events without an id")
    check_nameless(rig, daemon)

    # one sink is frozen
    rig.clickhouse.signal(signal.SIGSTOP)
    late = click("/later")
    plain_send(sender, [late])

    def states():
        answer = daemon.ctl("event", late["event_id"]) or {"sinks": []}
        return sink_of(answer, "kafka").get("state"), sink_of(answer, "clickhouse").get("state")

    rig.expect(wait_until(lambda: states() == ("committed", "not yet"), 90, "kafka"),
               f"one has it, one not: {states()}")
    rig.clickhouse.signal(signal.SIGCONT)
    rig.expect(wait_until(lambda: states() == ("committed", "committed"), 90, "clickhouse"), f"now both: {states()}")
    check_places(rig, daemon, late)

    # what is no ordinary event
    dump = subprocess.run([rig.program("sluicectl"), "--json", "journal", "dump", "--dir", daemon.data + "/journal"],
                          capture_output=True, text=True, check=True, timeout=60).stdout
    meta = daemon.ctl("journal", "ls", "--dir", daemon.data + "/journal")
    for kind, say in (("refused", "reason"), ("event", "suppressed")):
        row = next(r for r in map(json.loads, dump.splitlines())
                   if r["kind"] == kind and (kind == "refused" or r["flags"] & 2))
        address = f"{meta['node']}/{meta['epoch']}/{row['partition']}/{row['offset']}"
        answer = daemon.ctl("event", address)
        found = answer["records"][0]
        rig.expect(found[say] in ("bad_json", True), f"{kind}: {found}")
        rig.expect(sink_of(answer, "kafka")["state"] == ("committed" if kind == "refused" else "passed over"),
                   f"{kind} in Kafka: {sink_of(answer, 'kafka')}")
    for wrong in (str(uuid.uuid4()), "other/" + record["address"].split("/", 1)[1], "x", "a/b/c/d",
                  record["address"].rsplit("/", 1)[0] + "/999999999"):
        said = daemon.ctl_fails("event", wrong)
        rig.expect("no event" in said or "expected an event_id" in said, f"{wrong}: {said.strip()}")
    live = daemon.ctl("event", late["event_id"])
    daemon.expect_balanced("at the end")
    daemon.stop_well("at the end")
    offline = subprocess.run([rig.program("sluicectl"), "--json", "event", "--journal", daemon.data + "/journal",
                              "--config", rig.path("event.yaml"), late["event_id"]], capture_output=True, text=True,
                             check=False, timeout=60)
    answer = json.loads(offline.stdout) if offline.returncode == 0 else {}
    rig.expect(answer.get("records") == live["records"] and answer.get("rules") == live["rules"],
               f"offline the same {offline.stderr}")
    table = sink_of(answer, "clickhouse")
    rig.expect(table.get("state") == "committed" and table.get("target") == "event.clicks_raw",
               f"and what the sink wrote down: {table}")
    os.rename(daemon.data + "/rulesets", daemon.data + "/rulesets.away")
    rig.expect(subprocess.run([rig.program("sluicectl"), "event", "--journal", daemon.data + "/journal",
                               late["event_id"]], capture_output=True, check=False, timeout=60).returncode == 0,
               "and the place at least without the rules")
rig.done()
