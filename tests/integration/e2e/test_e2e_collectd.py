"""collectd, a real one, in a network namespace: its plugin write_graphite sends by UDP, to one listener with paths, to
another with tags; its plugin csv writes the same values to files. No sink.

Shown: each value of each file is one event of either listener, with its name, value, second and tags, under its host
where the line says it; nothing else is there; the ledger balances."""
import csv
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys

from daemon import Daemon
from netns import SENDER, TARGET, Sender
from rig import Rig, skip, wait_until

PLAIN, TAGGED, SECONDS = 2003, 2004, 6
HOST = "web-3"
CACHE = os.path.expanduser(os.environ.get("SLUICE_CACHE", "~/.cache/sluice"))
HOME = os.environ.get("SLUICE_COLLECTD", os.path.join(CACHE, "collectd"))
COLLECTD = shutil.which("collectd", path=os.path.join(CACHE, "bin"))
CONFIG = """
Hostname "{host}"
FQDNLookup false
BaseDir "{home}"
PIDFile "{home}/pid"
PluginDir "{installed}/lib"
TypesDB "{installed}/types.db"
Interval 1
LoadPlugin load
LoadPlugin memory
LoadPlugin uptime
LoadPlugin csv
LoadPlugin write_graphite
<Plugin csv>
  DataDir "{home}/csv"
</Plugin>
<Plugin write_graphite>
  <Node "plain">
    Host "{target}"
    Port "{plain}"
    Protocol "udp"
    Prefix "collectd."
    AlwaysAppendDS true
  </Node>
  <Node "tagged">
    Host "{target}"
    Port "{tagged}"
    Protocol "udp"
    UseTags true
  </Node>
</Plugin>
"""


def collectd_run(rig, sender):
    """Until it has written some seconds, and has ended in order. Returns its directory."""
    home = rig.path("collectd")
    os.mkdir(home)
    with open(home + "/collectd.conf", "w", encoding="ascii") as f:
        f.write(CONFIG.format(host=HOST, home=home, installed=HOME, target=TARGET[4], plain=PLAIN, tagged=TAGGED))
    child = rig.spawn([*sender.run, COLLECTD, "-f", "-C", home + "/collectd.conf"], "collectd.log")
    rig.expect(wait_until(lambda: len(written(home)) >= 10 * SECONDS, 120, "values"), "collectd has values")
    child.send_signal(signal.SIGTERM)
    rig.expect(child.wait(60) == 0, "and ends")
    return home


def written(home):
    """{(plugin, type, data source, second): values}, as csv has written it: two of a second where a read came late."""
    out = {}
    for path in glob.glob(f"{home}/csv/{HOST}/*/*"):
        plugin, kind = path.split("/")[-2:]
        kind = re.sub(r"-\d{4}-\d\d-\d\d$", "", kind)
        with open(path, encoding="ascii") as f:
            rows = [row for row in csv.reader(f) if row and row[0] != "epoch"]
        with open(path, encoding="ascii") as f:
            sources = f.readline().strip().split(",")[1:]
        for row in rows:
            for source, value in zip(sources, row[1:]):
                out.setdefault((plugin, kind, source, round(float(row[0]))), []).append(round(float(value), 6))
    return out


def with_instance(tags, name):
    return tags[name] + ("-" + tags[name + "_instance"] if name + "_instance" in tags else "")


def key_of(event):
    """The same key of an event; its tags say it, or its path."""
    tags, second = event.get("attributes"), event["ts"] // 1000
    if tags:
        return with_instance(tags, "plugin"), with_instance(tags, "type"), tags.get("ds_name", "value"), second
    prefix, host, plugin, kind, source = event["name"].split(".")
    assert (prefix, host) == ("collectd", HOST)
    return plugin, kind, source, second


def check(rig, name, events, want):
    have = {}
    for e in events:
        have.setdefault(key_of(e), []).append(round(e["value"], 6))
    wrong = [(k, have.get(k), want.get(k)) for k in have.keys() | want
             if sorted(have.get(k, [])) != sorted(want.get(k, []))]
    rig.expect(want and not wrong,
               f"{name}: {len(events)} events, each value of csv once: {wrong[:5]}")


if not COLLECTD:
    skip(f"no collectd in {HOME}: ./run deps")
with Rig(sys.argv[1], root=True) as rig:
    sender = Sender(rig)
    daemon = Daemon(rig, "graphite", sender.af_packet(), sinks=False)
    daemon.config["listeners"] = [{"name": "plain", "udp_port": PLAIN, "format": "graphite"},
                                  {"name": "tagged", "udp_port": TAGGED, "format": "graphite", "type": "telemetry"}]
    rig.expect(daemon.start(), "sluiced runs with both listeners")
    want = written(collectd_run(rig, sender))
    # a worker without a core is quiet, too
    count = 2 * sum(map(len, want.values()))
    wait_until(lambda: daemon.counter("events") >= count, 60, f"{count} events")
    rig.expect(daemon.wait_quiet(), "all has arrived")
    daemon.expect_balanced("quiet")
    out = subprocess.run([rig.program("sluicectl"), "--json", "journal", "dump", "--dir", daemon.data + "/journal"],
                         capture_output=True, text=True, timeout=60, check=True).stdout
    records = [json.loads(line) for line in out.splitlines()]
    events = [json.loads(r["payload"]) for r in records if r["kind"] == "event"]
    plain = [e for e in events if "attributes" not in e]
    tagged = [e for e in events if "attributes" in e]
    check(rig, "paths", plain, want)
    check(rig, "tags", tagged, want)
    rig.expect({e["device_id"] for e in plain} == {SENDER[4]} and {e["device_id"] for e in tagged} == {HOST},
               "a path names no device; the tag host does")
    rig.expect(not [r for r in records if r["kind"] == "refused"], "nothing was refused")
    daemon.stop_well("at the end")
rig.done()
