"""Public client libraries of StatsD, DogStatsD and InfluxDB (PyPI: statsd, datadog, influxdb) send from a network
namespace through a veth pair; the journal is read as it lies on disk. No sink.

Shown: each metric is one event of telemetry with its name, value, time, device and tags; what is no metric (an event, a
service check, nan) is a dead letter with the bytes that were sent; nothing else is there, and the ledger balances."""
import json
import os
import subprocess
import sys
import time

from daemon import Daemon
from netns import SENDER, TARGET, Sender, ip
from rig import Rig, skip, wait_until

LIBRARIES = os.environ.get("SLUICE_SENDERS", os.path.expanduser("~/.cache/sluice/senders"))
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "metric_senders.py")
STATSD, INFLUX = 8125, 8089

DOG = {"host": "web-3", "env": "prod"}
# The library writes the end of a line as a backslash and an n, which the protocol takes as these two characters.
FLUX = {"host": "web 3", "a=b": "c,d", "note": 'say "hi"\\nand \\ go'}
# name: (value, attributes); of whom by the tag host
WANT = {
    "plain.counter": (1, {"metric_type": "c"}),
    "plain.down": (-3, {"metric_type": "c"}),
    "plain.timer": (320.5, {"metric_type": "ms"}),
    "plain.tiny": (1e-05, {"metric_type": "ms"}),
    "plain.gauge": (70, {"metric_type": "g"}),
    "plain.change": (-3, {"metric_type": "g", "delta": True}),
    "plain.set": (None, {"metric_type": "s", "member": "user 7"}),
    "plain.first": (1, {"metric_type": "c"}),
    "plain.second": (1, {"metric_type": "c"}),
    "dog.counter": (1, {"metric_type": "c", "team": ["a", "b"], "beta": "", **DOG}),
    "dog.gauge": (1.25, {"metric_type": "g", **DOG}),
    "dog.distribution": (5, {"metric_type": "d", **DOG}),
    "dog.set": (None, {"metric_type": "s", "member": "x", **DOG}),
    "dog.timed": (8, {"metric_type": "g", **DOG}),
    "in flux,x.count": (7, FLUX),
    "in flux,x.level": (0.5, FLUX),
    "in flux,x.up": (1, FLUX),
    "plain_influx": (1.5, {}),
}
REFUSED = ["_e{5,21}:title|an event is no metric|#host:web-3,env:prod", "_sc|check|0|#host:web-3,env:prod",
           "plain.broken:nan|ms"]


def records(rig, daemon):
    out = subprocess.run([rig.program("sluicectl"), "--json", "journal", "dump", "--dir", daemon.data + "/journal"],
                         capture_output=True, text=True, timeout=60, check=True).stdout
    return [r for r in map(json.loads, out.splitlines()) if r["kind"] in ("event", "refused")]


def check(rig, found, started_s):
    events = [json.loads(r["payload"]) for r in found if r["kind"] == "event"]
    have = {e["name"]: (e.get("value"), e.get("attributes", {})) for e in events}
    rig.expect(len(events) == len(have) and have == WANT, f"{len(events)} events, each as it was sent: "
               f"{[(n, have.get(n), WANT.get(n)) for n in have.keys() | WANT if have.get(n) != WANT.get(n)]}")
    devices = [(e["name"], e["device_id"]) for e in events
               if e["device_id"] != e.get("attributes", {}).get("host", SENDER[4])]
    rig.expect(not devices, f"of the tag's host or the sender's address: {devices}")
    times = [(e["name"], e["ts"]) for e in events
             if not started_s - 1 <= e["ts"] / 1000 <= time.time() + 1]
    rig.expect(not times, f"with a time of this test: {times}")
    rig.expect(all(e["ts"] % 1000 == 0 for e in events if e["name"] == "dog.timed"), "whole seconds of a timestamp")
    refused = sorted(r["payload"].strip() for r in found if r["kind"] == "refused")
    reasons = {r["reason"] for r in found if r["kind"] == "refused"}
    rig.expect(refused == REFUSED and reasons == {"bad_format"}, f"dead letters: {refused} {reasons}")


def links(rig, sender, daemon):
    """A port whose interface goes down says so, and takes datagrams again when it is back."""
    def link():
        return daemon.ctl("ports")["ports"][0]["link"]

    def counted():
        sender.inside(sys.executable, "-c", "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
                      f".sendto(b'a:1|c', ('{TARGET[4]}', {STATSD}))")
        return daemon.counter("events")

    rig.expect(link() == "up", "the port's link is up")
    ip("link", "set", sender.ours, "down")
    rig.expect(wait_until(lambda: link() == "down", 60, "link down"), "down when the interface is")
    rig.expect(wait_until(lambda: "PORT DOWN: port" in rig.text(daemon.log), 60, "log"), "and the log says it")
    ip("link", "set", sender.ours, "up")
    rig.expect(wait_until(lambda: link() == "up", 60, "link up"), "up again")
    before = daemon.counter("events")
    rig.expect(wait_until(lambda: counted() > before, 60, "an event"), "and events come again")


if not os.path.isdir(os.path.join(LIBRARIES, "statsd")):
    skip(f"no client libraries in {LIBRARIES}: ./run deps")
with Rig(sys.argv[1], root=True) as rig:
    sender = Sender(rig)
    daemon = Daemon(rig, "senders", sender.af_packet(), sinks=False)
    daemon.config["listeners"] = [{"name": "statsd", "udp_port": STATSD, "format": "statsd"},
                                  {"name": "influx", "udp_port": INFLUX, "format": "influx", "type": "telemetry"}]
    rig.expect(daemon.start(), "sluiced runs with both listeners")
    started_s = int(time.time())
    done = subprocess.run([*sender.run, sys.executable, PROGRAM, TARGET[4], str(STATSD), str(INFLUX)],
                          env=dict(os.environ, PYTHONPATH=LIBRARIES), capture_output=True, text=True, timeout=60,
                          check=False)
    rig.expect(done.returncode == 0, f"all is sent {done.stderr[-500:]}")
    # a worker without a core is quiet, too
    wait_until(lambda: daemon.counter("events") >= len(WANT) + len(REFUSED), 60, "what was sent")
    rig.expect(daemon.wait_quiet(), "and has arrived")
    daemon.expect_balanced("quiet")
    check(rig, records(rig, daemon), started_s)
    links(rig, sender, daemon)
    daemon.stop_well("at the end")
rig.done()
