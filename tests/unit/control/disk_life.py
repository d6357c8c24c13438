"""A disk that has not the room that the configuration needs, and nobody who reads: the start says so with the sum and
the keys, and a journal that is full says that the disk is, not who should move on. In a mount namespace of its own."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from life import Life, pcap_write

SKIPPED = 77
MIB = 1 << 20
EVENTS = 9000  # of 1.2 kB: more than a segment for each partition, and more than both have


def config(life):
    life.write_config(f"""node: {{id: life, data_dir: {life.data}}}
eal: {{hugepages: false, memory: 64MiB}}
journal: {{partitions: 2, segment_bytes: 4MiB, reserve: 4MiB}}
state: {{enabled: false}}
control: {{socket: {life.socket}}}
ports: [{{name: file, device: "net_pcap0,rx_pcap={life.dir}/in.pcap"}}]
listeners: [{{name: in, udp_port: 9000}}]
""")


def log_of(life):
    with open(os.path.join(life.dir, "log"), encoding="utf-8") as f:
        return f.read()


def small(life):
    """12 MiB for 24 MiB and the reserve."""
    p = life.start()
    said = re.search(r'level=warn .*"(DISK TOO SMALL.*)"', log_of(life))
    assert said, life.tail()
    said = said.group(1)
    assert f"needs {28 * MIB} bytes at the least" in said and f"{24 * MIB} of them" in said, said
    for part in ("3 segments of journal.segment_bytes for each of 2 journal.partitions", "journal.reserve",
                 f"path={life.data}"):
        assert part in said, (part, said)
    assert "state.segment_bytes" not in said, said
    life.wait(lambda: life.result("status")["input_ended"] and life.result("ledger")["balanced"], "balance")
    status = life.result("status")
    assert {d["reason"] for d in status["drops"]} == {"journal_full"} and status["journal"]["disk_full"], status
    full = re.findall(r'"(JOURNAL FULL: .*)"', log_of(life))
    assert full and all("the disk has no room for a further segment, and of " in line and "consumer" not in line
                        for line in full), full
    assert life.ctl("stop")[0] == 0
    life.ended(p, 0)


def large(life):
    """With room for it nothing is said."""
    assert subprocess.run(["mount", "-o", "remount,size=64m", life.data], check=False).returncode == 0
    before = len(log_of(life))
    p = life.start()
    assert "DISK TOO SMALL" not in log_of(life)[before:]
    assert life.ctl("stop")[0] == 0
    life.ended(p, 0)


def main():
    if len(sys.argv) < 4:
        if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
            print("skipped: no mount namespace can be made here")
            sys.exit(SKIPPED)
        os.execvp("unshare", ["unshare", "-m", sys.executable, *sys.argv, "inside"])
    life = Life(sys.argv[1], sys.argv[2], tempfile.mkdtemp(prefix="sluice_disk_life_"))
    os.mkdir(life.data)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "sluice", life.data], check=False).returncode:
        shutil.rmtree(life.dir)
        sys.exit(SKIPPED)
    now = int(time.time() * 1000)
    pcap_write(os.path.join(life.dir, "in.pcap"), [json.dumps({"user_id": f"u{i}", "ts": now, "page": "/" + "x" * 1200})
                                                   for i in range(EVENTS)], 1)

    def runs():
        config(life)
        small(life)
        large(life)
        subprocess.run(["umount", "-l", life.data], check=True)

    life.run(runs)


main()
