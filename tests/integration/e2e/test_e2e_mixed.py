"""All formats at once, from a network namespace, into one sluiced with both sinks: JSON, NDJSON (some of it in IP
fragments), StatsD, InfluxDB lines, syslog, GELF (plain, compressed, in chunks), and a producer with acknowledgements,
while sluiced is killed at random and its wall clock steps.

Shown: what the journal has is in Kafka and in ClickHouse exactly once, dead letters too; the acknowledged producer's
events are all there, once; every format came through; receive times never go back; the ledger balances."""
import json
import os
import random
import subprocess
import sys
import time

from daemon import Daemon, now_ms
from netns import TARGET, Sender
from rig import Rig, say, wait_until
from wall_clock import WallClock

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS = os.path.join(HERE, "../../../clients/python")
PORTS = {"json": 9001, "ndjson": 9002, "statsd": 8125, "influx": 8089, "syslog": 5514, "gelf": 12201}
ACKED_PORT, ACKED, ACKED_RATE = 5140, 6000, 250
SECONDS, RATE, KILLS, AHEAD_MS = 24, 600, 5, 3600000


def records(rig, daemon):
    out = subprocess.run([rig.program("sluicectl"), "--json", "journal", "dump", "--dir", daemon.data + "/journal"],
                         capture_output=True, text=True, timeout=120, check=True).stdout
    return [r for r in map(json.loads, out.splitlines()) if r["kind"] in ("event", "refused")]


def spawn_senders(rig, sender):
    with open(rig.path("acked.ndjson"), "w", encoding="ascii") as f:
        for i in range(ACKED):
            f.write(json.dumps({"type": "log", "source": "acked", "message": f"acked {i}", "ts": now_ms()}) + "\n")
    acked = subprocess.Popen(
        [*sender.run, sys.executable, os.path.join(HERE, "ack_producer.py"), "--to", TARGET[4], str(ACKED_PORT),
         "--rate", str(ACKED_RATE), "--timeout", "120", rig.path("acked.ndjson")],
        stdout=subprocess.PIPE, text=True, env=dict(os.environ, PYTHONPATH=CLIENTS))
    mixed = subprocess.Popen(
        [*sender.run, sys.executable, os.path.join(HERE, "mixed_senders.py"), TARGET[4], str(SECONDS), str(RATE),
         *[f"{name}={port}" for name, port in PORTS.items()]], stdout=subprocess.PIPE, text=True)
    rig.closers += [acked.kill, mixed.kill]
    return acked, mixed


def check(rig, daemon, producer, sent):
    found = records(rig, daemon)
    events = [r for r in found if r["kind"] == "event"]
    count = {name: sum(r["udp_port"] == port for r in events) for name, port in PORTS.items()}
    say(f"datagrams sent {sent}, events journaled {count}, refused {len(found) - len(events)}")
    rig.expect(all(count[name] > 100 for name in PORTS), f"every format came through: {count}")
    messages = [json.loads(r["payload"]).get("message", "") for r in events if r["udp_port"] == PORTS["gelf"]]
    rig.expect(any(m.startswith("gelf chunks") for m in messages), "GELF in chunks, too")
    large = [r for r in events if r["udp_port"] == PORTS["ndjson"] and '"ndjson 39 ' in r["payload"]]
    rig.expect(large, f"and what came in IP fragments: {len(large)}")
    rig.expect(any(r["udp_port"] == PORTS["json"] for r in found if r["kind"] == "refused"), "and dead letters")
    acked = [json.loads(r["payload"])["message"] for r in events if r["udp_port"] == ACKED_PORT]
    rig.expect(len(acked) == len(set(acked)) == ACKED and producer["acked"] == ACKED and not producer["unacknowledged"],
               f"acknowledged: {len(acked)} events, {len(set(acked))} different, of {ACKED}: {producer}")


with Rig(sys.argv[1], kafka=1, clickhouse=True, root=True) as rig:
    sender = Sender(rig)
    device = f"net_af_packet0,iface={sender.ours},blocksz=65536,framesz=32768,framecnt=512"
    daemon = Daemon(rig, "mixed", [{"name": "veth", "device": device}], workers=1)
    daemon.config["listeners"] = [{"name": n, "udp_port": p, "format": n} for n, p in PORTS.items()] + [
        {"name": "acked", "udp_port": ACKED_PORT, "format": "sluice"}]
    daemon.config["eal"]["mbufs"] = 2047  # of the size of a frame of the ring
    clock = WallClock(rig, daemon)
    rig.expect(daemon.start(), "sluiced runs")
    acked, mixed = spawn_senders(rig, sender)
    clock.keep_stepping([AHEAD_MS])
    dice = random.Random(rig.seed)
    for n in range(KILLS):
        time.sleep(1 + dice.random() * (SECONDS / KILLS - 1.5))
        daemon.kill()
        if not rig.expect(daemon.start(), f"start {n + 1} after a kill"):
            break
    sent = json.loads(mixed.communicate(timeout=120)[0])
    producer = json.loads(acked.communicate(timeout=180)[0])
    clock.stop()
    rig.expect(wait_until(lambda: daemon.wait_quiet() and daemon.drain(), 180, "drain"), "all is delivered")
    daemon.expect_balanced("at the end")
    daemon.stop_well("at the end")
    rig.verify(daemon, "journal, Kafka and ClickHouse")
    check(rig, daemon, producer, sent)
    clock.check_journal()
rig.done()
