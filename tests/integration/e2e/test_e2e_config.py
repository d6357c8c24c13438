"""The configuration file read again under load of a kernel sender by af_packet: by `config reload` and by SIGHUP, over
and over, with all keys that are live. Without sinks.

Shown: no event is lost or refused for it, per event id; each reload is noted in every partition of the journal; a file
with a changed key that needs a restart, or one that is wrong, changes nothing and says why; a listener's list of
sources and the bounds of event time hold from the reload on; the command line stays above the file."""
import json
import signal
import subprocess
import sys
import time

from daemon import UDP_PORT, Daemon
from netns import Sender
from rig import Rig, wait_until

RELOADS, COUNT = 40, 150000
VALUES = [{"allow": "192.0.2.0/24", "past_max": "30d", "future_max": "5m", "rate": "64MiB", "level": "info",
           "patterns": 20000},
          {"allow": "192.0.2.1, 198.51.100.0/24", "past_max": "1d", "future_max": "10m", "rate": "32MiB",
           "level": "debug", "patterns": 30000}]


def settings(daemon, values):
    daemon.config["listeners"][0]["allow"] = values["allow"]
    daemon.config.setdefault("time", {}).update(past_max=values["past_max"], future_max=values["future_max"])
    daemon.config["journal"]["dead_letter_rate"] = values["rate"]
    daemon.config["log"]["level"] = values["level"]
    daemon.config["rules"]["patterns_max"] = values["patterns"]
    daemon.write_config()


def in_force(daemon, key):
    text = (daemon.ctl("config") or {}).get("text", "")
    return [line.split(":", 1)[1].strip().strip('"') for line in text.splitlines() if line.strip(" -").startswith(key)]


def reload_over_and_over(rig, daemon):
    for n in range(1, RELOADS + 1):
        values = VALUES[n % 2]
        settings(daemon, values)
        if n % 4 == 3:
            daemon.child.send_signal(signal.SIGHUP)
            good = wait_until(lambda v=values: in_force(daemon, "patterns_max") == [str(v["patterns"])], 60, "SIGHUP")
        else:
            answer = daemon.ctl("config", "reload") or {}
            good = len(answer.get("applied", [])) == 6 and answer.get("restart") == []
        good = good and in_force(daemon, "allow") == [values["allow"]]
        if not good or in_force(daemon, "level") != [values["level"]]:
            return rig.expect(False, f"reload {n}: {daemon.ctl('config')} {daemon.log_tail(500)}")
        time.sleep(0.2)
    return rig.expect(True, f"{RELOADS} reloads, each of six keys")


def check_refusals(rig, daemon):
    settings(daemon, VALUES[1])
    daemon.config["journal"]["block_age"] = "2ms"
    daemon.config["worker"]["batch_age"] = "2ms"
    daemon.config["listeners"].append({"name": "more", "udp_port": 5141})
    daemon.write_config()
    said = daemon.ctl_fails("config", "reload")
    rig.expect(all(k in said for k in ("nothing changed", "worker.batch_age", "journal.block_age", "listeners")) and
               in_force(daemon, "patterns_max") == ["20000"], f"keys that need a restart are named: {said.strip()}")
    daemon.config["listeners"].pop()
    daemon.write_config()
    answer = daemon.ctl("config", "reload", "--live-only") or {}
    rig.expect(len(answer.get("applied", [])) == 6 and {r["key"] for r in answer.get("restart", [])} ==
               {"worker.batch_age", "journal.block_age"} and in_force(daemon, "batch_age")[0] == "1ms",
               f"--live-only applies the others: {answer.get('restart')}")
    del daemon.config["journal"]["block_age"], daemon.config["worker"]["batch_age"]
    settings(daemon, dict(VALUES[0], allow="192.0.2.0/33"))
    said = daemon.ctl_fails("config", "reload")
    rig.expect("192.0.2.0/33" in said and in_force(daemon, "allow") == [VALUES[1]["allow"]],
               f"a wrong value is refused: {said.strip()}")
    with open(rig.path("config.yaml"), "a", encoding="ascii") as f:
        f.write("nonsense: [\n")
    said = daemon.ctl_fails("config", "reload")
    rig.expect("nothing changed" in said, f"what is no configuration is refused: {said.strip()}")
    settings(daemon, VALUES[0])
    rig.expect(len((daemon.ctl("config", "reload") or {}).get("applied", [])) == 6, "and back")
    rig.expect((daemon.ctl("config", "reload") or {}).get("applied") == [], "the same file again: nothing to do")


def some(rig, sender, daemon, name, **options):
    """Sends 3000 events; returns what came in."""
    before = daemon.counter("events"), daemon.drops()
    gen = sender.gen(name, 4, UDP_PORT, rate=3000, count=3000, events_per_datagram=1, seed=rig.seed + 1, **options)
    gen.wait(120)
    rig.gen_stop(name, gen)
    wait_until(lambda: daemon.counter("events") - before[0] + daemon.drops().get("source_denied", 0) -
               before[1].get("source_denied", 0) >= 3000, 60, "3000 events")
    after = daemon.drops()
    return daemon.counter("events") - before[0], {k: after[k] - before[1].get(k, 0) for k in after}


def check_effects(rig, daemon, sender):
    settings(daemon, dict(VALUES[0], allow="203.0.113.7"))
    rig.expect(daemon.ctl("config", "reload"), "a list without the sender")
    events, drops = some(rig, sender, daemon, "denied")
    rig.expect(events == 0 and drops.get("source_denied") == 3000, f"it is denied: {events} events, {drops}")
    settings(daemon, dict(VALUES[0], past_max="1h"))
    rig.expect(daemon.ctl("config", "reload"), "past_max of an hour")
    events, drops = some(rig, sender, daemon, "old", start_ts=int(time.time() * 1000) - 2 * 3600_000, ts_rate=3000)
    rig.expect(events == 3000 and drops.get("timestamp_past") == 3000, f"older events are refused: {drops}")


def notes(rig, daemon):
    """partition -> texts of its control records of reloads."""
    dump = subprocess.run([rig.program("sluicectl"), "--json", "journal", "dump", "--dir", daemon.data + "/journal"],
                          capture_output=True, text=True, check=True, timeout=120)
    found = {}
    for record in map(json.loads, dump.stdout.splitlines()):
        if "event=config_reload" in json.dumps(record) and record["kind"] == "control":
            found.setdefault(record["partition"], []).append(json.dumps(record))
    return found


with Rig(sys.argv[1], root=True) as rig:
    sender = Sender(rig)
    daemon = Daemon(rig, "config", sender.af_packet(), sinks=False)
    settings(daemon, VALUES[0])
    rig.expect(daemon.start(), "sluiced runs")
    gen = sender.gen("load", 4, UDP_PORT, rate=10000, count=COUNT, events_per_datagram=3, seed=rig.seed)
    wait_until(lambda: daemon.counter("events") > 1000, 60, "the first events")
    reload_over_and_over(rig, daemon)
    gen.wait(120)
    rig.gen_stop("load", gen)
    rig.expect(wait_until(lambda: daemon.counter("accepted") >= COUNT, 90, "all events"),
               f"of {COUNT} events {daemon.counter('accepted')} were accepted")
    drops = {k: v for k, v in daemon.drops().items() if k not in ("not_udp", "not_ip")}  # the kernel's own words
    rig.expect(sum(drops.values()) == 0, f"nothing was dropped: {drops}")
    check_refusals(rig, daemon)
    rig.expect(daemon.wait_quiet(), "quiet")
    daemon.expect_balanced("after the load")
    daemon.expect_no_kernel_drops()
    daemon.stop_well("after the load")
    found = notes(rig, daemon)
    counts = {p: len(texts) for p, texts in found.items()}
    rig.expect(len(counts) == 4 and len(set(counts.values())) == 1 and counts[0] == RELOADS + 2 and
               "listeners[events].allow" in found[0][0], f"notes of each partition: {counts}")
    rig.verify(daemon, "every id of the load is in the journal", truth="load.truth", sinks=False)
    rig.expect(daemon.start(), "sluiced runs again")
    check_effects(rig, daemon, sender)
    rig.expect(daemon.wait_quiet(), "quiet")
    daemon.expect_balanced("at the end")
    daemon.stop_well("at the end")
rig.done()
