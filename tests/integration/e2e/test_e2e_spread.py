"""Three workers over one queue: af_packet with one, so that two workers get all they have from the first
(worker.spread). From a network namespace: one hot sender of JSON, and beside it by IPv6 every format from one
source, in it GELF in chunks and lines in IP fragments, a producer with acknowledgements, and a flood of a source to
a listener with a rate; while the configuration is reloaded, rules are applied and a capture runs. Then a stop and a
start under load. No sinks.

Shown: every event is in the journal once; what has to meet met: chunks and fragments became whole, no sequence is
missing, the source's rate is one worker's; all three workers worked; the ledger balances; what was acknowledged
before the stop is there."""
import glob
import json
import os
import subprocess
import sys
import time

from daemon import UDP_PORT, Daemon, now_ms
from netns import TARGET, Sender
from rig import SOURCE, Rig, say, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS = os.path.join(HERE, "../../../clients/python")
PORTS = {"json": 9001, "ndjson": 9002, "statsd": 8125, "influx": 8089, "syslog": 5514, "gelf": 12201}
ACKED_PORT, LIMITED_PORT = 5141, 9003
HOT, HOT_RATE, ACKED, ACKED_RATE = 45000, 6000, 3000, 500
SECONDS, RATE = 6, 300
FLOOD, LIMIT, BURST = 2000, 20, 50
NOISE = {"not_ip", "not_udp", "no_listener"}  # the sender's kernel looks for neighbours and routers


def journal(rig, daemon):
    out = subprocess.run([rig.program("sluicectl"), "--json", "journal", "dump", "--dir", daemon.data + "/journal"],
                         capture_output=True, text=True, timeout=120, check=True).stdout
    return [r for r in map(json.loads, out.splitlines()) if r["kind"] in ("event", "refused")]


def events_of(records, port):
    return [json.loads(r["payload"]) for r in records if r["udp_port"] == port and r["kind"] == "event"]


def acked_start(rig, sender, name):
    path = rig.path(name + ".ndjson")
    with open(path, "w", encoding="ascii") as f:
        for i in range(ACKED):
            f.write(json.dumps({"type": "log", "source": name, "message": f"{name} {i}", "ts": now_ms()}) + "\n")
    child = subprocess.Popen(
        [*sender.run, sys.executable, os.path.join(HERE, "ack_producer.py"), "--to", TARGET[4], str(ACKED_PORT),
         "--rate", str(ACKED_RATE), "--timeout", "90", path],
        stdout=subprocess.PIPE, text=True, env=dict(os.environ, PYTHONPATH=CLIENTS))
    rig.closers.append(child.kill)
    return child


def mixed_start(rig, sender):
    child = subprocess.Popen(
        [*sender.run, sys.executable, os.path.join(HERE, "mixed_senders.py"), TARGET[6], str(SECONDS), str(RATE),
         *[f"{name}={port}" for name, port in PORTS.items()]], stdout=subprocess.PIPE, text=True)
    rig.closers.append(child.kill)
    return child


def flood(sender):
    code = ("import socket, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "for i in range(int(sys.argv[3])): s.sendto(sys.argv[4].encode(), (sys.argv[1], int(sys.argv[2])))")
    subprocess.run([*sender.run, sys.executable, "-c", code, TARGET[4], str(LIMITED_PORT), str(FLOOD),
                    '{"type":"log","source":"flood","message":"m","ts":%d}' % now_ms()], check=True, timeout=60)


def workers(daemon):
    return (daemon.ctl("stats") or {}).get("workers", [])


def mixed_want(turns):
    """What the senders of every format have sent in so many turns: port -> texts, each once."""
    return {
        "ndjson": [f"ndjson {i} {n}" for n in range(turns) for i in range(40 if n % 4 == 3 else 3)],
        "gelf": [f"gelf chunks {n}" if n % 3 == 2 else f"gelf {n}" for n in range(turns)],
        "syslog": [f"syslog {n}" for n in range(turns)],
        "json": [f"json {n}" for n in range(turns) if n % 10],
    }


def change_things(rig, daemon, until):
    count, packs = 0, sorted(glob.glob(os.path.join(SOURCE, "rules", "packs", "*.yaml")))
    while time.monotonic() < until or count < 3:
        daemon.config["listeners"][0]["allow"] = ["192.0.2.0/24", "192.0.2.1"][count % 2]
        daemon.write_config()
        good = len((daemon.ctl("config", "reload") or {}).get("applied", [])) == 1
        if not good or (count % 4 == 0 and daemon.ctl("rules", "apply", packs[count // 4 % 2]) is None):
            return rig.expect(False, f"change {count}: {daemon.log_tail(500)}")
        count += 1
        time.sleep(0.2)
    return rig.expect(count >= 3, f"{count} reloads and new rulesets under load")


def under_load(rig, daemon, sender):
    hot = sender.gen("hot", 4, UDP_PORT, rate=HOT_RATE, count=HOT, events_per_datagram=1, seed=rig.seed)
    mixed, acked = mixed_start(rig, sender), acked_start(rig, sender, "first")
    capture = subprocess.Popen([rig.program("sluicectl"), "--socket", daemon.socket, "--json", "capture", "veth", "-o",
                                rig.path("gelf.pcap"), "--listener", "gelf", "--count", "100", "--seconds", "60"],
                               stdout=subprocess.PIPE, text=True)
    start = time.monotonic()
    flood(sender)
    change_things(rig, daemon, start + SECONDS)
    sent, producer = json.loads(mixed.communicate(timeout=120)[0]), json.loads(acked.communicate(timeout=120)[0])
    hot.wait(120)
    rig.gen_stop("hot", hot)
    captured = json.loads(capture.communicate(timeout=60)[0])
    rig.expect(captured.get("matched", 0) > 0 and captured.get("not_copied") == 0, f"captured {captured}")
    seconds = time.monotonic() - start
    rig.expect(daemon.wait_quiet(), "quiet")
    daemon.expect_balanced("under load")
    daemon.expect_no_kernel_drops()
    limited = next(r for r in daemon.ctl("stats")["listeners"] if r["listener"] == "limited")
    drops = {k: v for k, v in daemon.drops().items() if k not in NOISE}  # duplicate: what the producer repeated
    rig.expect(limited["accepted"] <= BURST + LIMIT * seconds + 1 and
               drops.get("rate_limited") == FLOOD - limited["accepted"] and
               set(drops) <= {"bad_json", "rate_limited", "duplicate"}, f"of the flood {limited['accepted']}: {drops}")
    return sent, producer


def check_workers(rig, daemon):
    rows = workers(daemon)
    say("; ".join(f"worker {w['worker']}: {w['frames']} frames, given {w['given']}, taken {w['taken']}" for w in rows))
    rig.expect(len(rows) == 3 and all(w["frames"] > 0 for w in rows), "three workers had frames")
    rig.expect(rows[0]["given"] == rows[1]["taken"] + rows[2]["taken"] > 0 and rows[0]["taken"] == 0,
               "the first gave the others theirs")
    rig.expect("spread: on: 3 workers, 1 queues" in daemon.log_tail(200000), "the log says why")
    rows = (daemon.ctl("producers") or {}).get("producers", [])
    rig.expect(len(rows) == 1 and rows[0]["missing"] == rows[0]["open"] == 0 and rows[0]["events"] == ACKED,
               f"one producer, at one worker, no sequence missing: {rows}")


def check_journal(rig, daemon, sent, producer):
    records = journal(rig, daemon)
    ids = [e["event_id"] for e in events_of(records, UDP_PORT)]
    rig.expect(len(ids) == len(set(ids)) == HOT, f"the hot sender: {len(ids)} events, {len(set(ids))} ids, of {HOT}")
    for name, want in mixed_want(sent["json"]).items():
        have = sorted(e["message"] for e in events_of(records, PORTS[name]))
        rig.expect(have == sorted(want), f"{name}: {len(have)} events of {len(want)}")
    for name in ("statsd", "influx"):
        rig.expect(len(events_of(records, PORTS[name])) == 2 * sent[name], f"{name}: two of each datagram")
    have = [e["message"] for e in events_of(records, ACKED_PORT)]
    rig.expect(len(have) == len(set(have)) == ACKED == producer["acked"], f"acknowledged: {len(have)} {producer}")


def stop_under_load(rig, daemon, sender):
    hot = sender.gen("again", 4, UDP_PORT, rate=HOT_RATE, count=HOT, events_per_datagram=1, seed=rig.seed + 1)
    acked = acked_start(rig, sender, "second")
    before = daemon.counter("accepted")
    wait_until(lambda: daemon.counter("accepted") > before + 12000, 60, "load")
    daemon.stop_well("under load")
    rig.expect(daemon.start(), "and starts again")
    producer = json.loads(acked.communicate(timeout=120)[0])
    hot.wait(120)
    rig.gen_stop("again", hot)
    rig.expect(daemon.wait_quiet(), "quiet again")
    daemon.expect_balanced("after the stop")
    daemon.stop_well("at the end")
    records = journal(rig, daemon)
    have = [e["message"] for e in events_of(records, ACKED_PORT) if e["message"].startswith("second")]
    rig.expect(len(have) == len(set(have)) == ACKED == producer["acked"], f"acknowledged: {len(have)} {producer}")
    ids = [e["event_id"] for e in events_of(records, UDP_PORT)]
    rig.expect(len(ids) == len(set(ids)) > HOT + 10000, f"of the hot senders {len(ids)} events, {len(set(ids))} ids")


with Rig(sys.argv[1], root=True) as rig:
    sender = Sender(rig)
    daemon = Daemon(rig, "spread", sender.af_packet(1, 32768), workers=3, sinks=False)
    # Small bursts and long sleeps: the queue is crowded whenever a worker wakes up.
    daemon.config["worker"].update(burst=4, idle_sleep_max="10ms", spread_frames=8191)
    daemon.config["listeners"] = [{"name": "events", "udp_port": UDP_PORT}] + [
        {"name": n, "udp_port": p, "format": n} for n, p in PORTS.items()] + [
        {"name": "acked", "udp_port": ACKED_PORT, "format": "sluice"},
        {"name": "limited", "udp_port": LIMITED_PORT, "rate": LIMIT, "burst": BURST}]
    if rig.expect(daemon.start(), "sluiced runs"):
        sent, producer = under_load(rig, daemon, sender)
        check_workers(rig, daemon)
        daemon.stop_well("after the load")
        check_journal(rig, daemon, sent, producer)
        if rig.expect(daemon.start(), "the second part"):
            stop_under_load(rig, daemon, sender)
rig.done()
