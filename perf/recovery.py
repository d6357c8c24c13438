#!/usr/bin/env python3
"""How fast sluiced is back after kill -9 when its newest checkpoint is an old one.

    perf/recovery.py [BUILD_DIR] [EVENTS] [WINDOWS] [RULES]

sluiced journals a capture file of EVENTS events (3,400,000: about 1 GB of journal) in 4 partitions with no
checkpoint but the empty first one, is killed with SIGKILL once everything is durable, and started again without input:
it reads the journal for the ids that it must remember, then replays all of it and compares what comes out with the
output log, record by record. WINDOWS: "shipped" (the default), or the definition of one window. RULES: "packs" (the
default), "none", or a folder. Printed as it goes:
the progress that `sluicectl windows` shows; then the seconds of each part, by the wall and of CPU time, and events a
second. No root, no sinks."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from common import PARTITIONS, Control, cpu_seconds

BUILD = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build")
EVENTS = int(sys.argv[2]) if len(sys.argv) > 2 else 3400000
WINDOWS = sys.argv[3] if len(sys.argv) > 3 else "shipped"
RULES = sys.argv[4] if len(sys.argv) > 4 else "packs"
TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CTL = "controlplane/cli/sluicectl"
LIMIT = 60  # seconds that each part may take
RATE = 100000  # events a second of event time


def config(folder, pcap):
    windows = "" if WINDOWS == "shipped" else f"windows: [{WINDOWS}]\n"
    rules = {"packs": f"{TREE}/rules/packs", "none": ""}.get(RULES, os.path.abspath(RULES))
    rules = f"rules: {{dir: {rules}}}\n" if rules else ""
    return f"""
node: {{id: recovery, data_dir: {folder}/data}}
eal: {{hugepages: false, memory: 256MiB}}
journal: {{partitions: {PARTITIONS}, segments_max: 256, dedup_window: 1h}}
state: {{enabled: true, checkpoint_every: 1h}}
{rules}control: {{socket: {folder}/control.sock}}
{windows}ports: [{{name: file, device: "net_pcap0,rx_pcap={pcap}"}}]
listeners: [{{name: in, udp_port: 9000}}]
"""


def tool(path, *args):
    return subprocess.run([os.path.join(BUILD, path), *args], check=True, capture_output=True, text=True).stdout


class Sluiced:
    def __init__(self, folder, pcap):
        self.folder = folder
        with open(f"{folder}/sluiced.yaml", "w", encoding="utf-8") as f:
            f.write(config(folder, pcap))
        self.began, self.print_at, self.control = time.monotonic(), 0, None
        with open(f"{folder}/log", "ab") as log:
            self.child = subprocess.Popen([os.path.join(BUILD, "controlplane/sluiced"), "--config",
                                           f"{folder}/sluiced.yaml"], stdout=log, stderr=log)

    def ctl(self, command):
        try:
            self.control = self.control or Control(f"{self.folder}/control.sock")
            return self.control.call(command)
        except (OSError, json.JSONDecodeError):
            self.control = None
            return None

    def wait(self, what, condition):
        """Seconds since the start, and CPU seconds, at which the condition came true."""
        while not condition():
            if time.monotonic() - self.began > LIMIT or self.child.poll() is not None:
                sys.exit(f"{what}: not within {LIMIT} s\n" + open(f"{self.folder}/log").read()[-2000:])
            time.sleep(0.01)
        return time.monotonic() - self.began, cpu_seconds(self.child.pid)

    def taken(self):
        """Whether all that was sent is durable and has been through the state stage."""
        now, parts = self.ctl("status"), (self.ctl("windows") or {}).get("partitions", [{}])
        return now and now["events"]["journaled"] >= EVENTS and not any(p.get("behind", 1) for p in parts)

    def recovered(self):
        now = self.ctl("windows") or {}
        parts = now.get("partitions", [])
        if parts and time.monotonic() > self.print_at:
            self.print_at = time.monotonic() + 0.25
            print("  " + ", ".join(f"{p['partition']}: {p['state']} {p['behind']} behind" for p in parts) +
                  f", merge {now['merge']['state']}", flush=True)
        return parts and all(p["state"] == "running" for p in parts) and now["merge"]["state"] == "running"


def journal_bytes(folder):
    listed = json.loads(tool(CTL, "--json", "journal", "ls", "--dir", f"{folder}/data/journal"))
    return sum(p["bytes"] for p in listed["partitions"])


def measure(folder):
    pcap, none = f"{folder}/in.pcap", f"{folder}/none.pcap"
    start = str(int(time.time() * 1000) - EVENTS * 1000 // RATE - 5000)
    for path, count in ((pcap, EVENTS), (none, 1)):
        tool("tools/gen/sluice-gen", "--count", str(count), "--pcap", path, "--dst", "10.0.0.2:9000", "--mix", "all",
             "--events-per-datagram", "6", "--users", "100000", "--disorder", "2000", "--start-ts", start, "--ts-rate",
             str(RATE), "--seed", str(count))
    first = Sluiced(folder, pcap)
    print("journaled and computed in {:.2f} s, {:.2f} s of CPU".format(*first.wait("journal", first.taken)))
    first.child.send_signal(signal.SIGKILL)
    first.child.wait()
    again = Sluiced(folder, none)
    up, up_cpu = again.wait("start", lambda: again.ctl("windows"))
    done, cpu = again.wait("recovery", again.recovered)
    parts = again.ctl("windows")["partitions"]
    again.child.send_signal(signal.SIGTERM)
    again.child.wait()
    print(f"{EVENTS} events, {journal_bytes(folder) / 1e6:.0f} MB of journal, windows {WINDOWS}, rules {RULES}: "
          f"back after {done:.2f} s = {EVENTS / done / 1e6:.2f} M events/s, {cpu:.2f} s of CPU = "
          f"{EVENTS / cpu / 1e6:.2f} M events a CPU-second")
    print(f"  until the socket answers (journal read for ids) {up:.2f} s, {up_cpu:.2f} s of CPU; then the replay "
          f"{done - up:.2f} s = {EVENTS / (done - up) / 1e6:.2f} M events/s, {cpu - up_cpu:.2f} s of CPU")
    print(f"  compared {sum(p['compared'] for p in parts)} records, differing {sum(p['mismatches'] for p in parts)}")


def main():
    folder = tempfile.mkdtemp(prefix="sluice-recovery-", dir=os.environ.get("SLUICE_TEST_DIR"))
    try:
        measure(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
