"""How many events a second this machine takes end to end: a capture file is read by a DPDK port as fast as the journal
takes it, a real single-node Kafka and the real ClickHouse engine run beside it on the same cores, and the clock runs
until both have everything committed (their first connection included).

    python3 perf/end_to_end.py [BUILD_DIR] [EVENTS]     needs what ./run deps installs; no root
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from common import cpu_seconds

BUILD = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build")
LIMIT = 120  # seconds
EVENTS = int(sys.argv[2]) if len(sys.argv) > 2 else 1000000
TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DIR = tempfile.mkdtemp(prefix="sluice-perf-")
CONFIG = f"""
node: {{id: perf, data_dir: {DIR}/data}}
eal: {{hugepages: false}}
journal: {{partitions: 4, segments_max: 32}}
rules: {{dir: {TREE}/rules/packs}}
kafka: {{enabled: true, replication: 1, min_isr: 1}}
clickhouse: {{enabled: true}}
ports: [{{name: file, device: "net_pcap0,rx_pcap={DIR}/in.pcap"}}]
listeners: [{{name: in, udp_port: 9000}}]
"""


def tool(path, *args, **more):
    return subprocess.run([os.path.join(BUILD, path), *args], check=True, capture_output=True, text=True, **more).stdout


def status():
    try:
        return json.loads(tool("controlplane/cli/sluicectl", "--socket", f"{DIR}/servers/control.sock", "--json",
                               "status"))
    except (subprocess.CalledProcessError, json.JSONDecodeError):
        return None


def delivered(now):
    """Events that each sink has committed."""
    return {s["sink"]: s["events"] for s in now["sinks"]} if now else {}


def main():
    tool("tools/gen/sluice-gen", "--count", str(EVENTS), "--pcap", f"{DIR}/in.pcap", "--dst", "10.0.0.2:9000",
         "--events-per-datagram", "6", "--fraud-permille", "5")
    with open(f"{DIR}/perf.yaml", "w", encoding="utf-8") as f:
        f.write(CONFIG)
    boss = subprocess.Popen(
        [os.path.join(BUILD, "tools/supervisor/sluice-supervisor"), "--demo", "--data", f"{DIR}/servers", "--config",
         f"{DIR}/perf.yaml", "--state-file", f"{DIR}/state"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        start, done, limit, now = None, {}, time.time() + LIMIT, None
        while time.time() < limit and (not done or min(done.values()) < EVENTS or len(done) < 2):
            time.sleep(0.05)
            now = status()
            if now and start is None and now["events"]["frames"]:
                start, journaled = time.time(), None
            if now and start and journaled is None and now["events"]["journaled"] >= EVENTS:
                journaled = time.time() - start
            done = delivered(now)
        took = time.time() - start
        state = dict(line.strip().split("=", 1) for line in open(f"{DIR}/state") if "=" in line)
        cpu = {name: cpu_seconds(int(state[name])) for name in state if name.endswith("pid") and state[name].isdigit()}
        print(f"{EVENTS} events: journaled in {journaled:.2f} s = {EVENTS / journaled:,.0f}/s; "
              f"in Kafka and ClickHouse after {took:.2f} s = {EVENTS / took:,.0f}/s; CPU seconds {cpu}")
    finally:
        boss.send_signal(signal.SIGTERM)
        boss.wait(90)
        shutil.rmtree(DIR, ignore_errors=True)
    return 0 if done and min(done.values()) >= EVENTS else 1


sys.exit(main())
