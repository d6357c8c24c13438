#!/usr/bin/env python3
"""Memory of sluiced with everything at its default and one port, and the time from its start to the first event that is
accepted and durable.

    perf/footprint.py BUILD_DIR [EVENTS]      1,000,000; some 4,500,000 fill the tables of ids of all four partitions

A capture file of unique clicks is the port (net_pcap), read as fast as the journal takes it. Only paths, the socket and
eal.hugepages (false where the machine has none) are set. Reported: resident memory by /proc/PID/smaps_rollup, with huge
pages, when it has just started and after the load."""
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "integration", "e2e"))
from common import cpu_seconds  # noqa: E402  (the others need the path above)
from daemon import UDP_PORT, Daemon  # noqa: E402
from rig import Rig  # noqa: E402

EAL_MEMORY_KIB = 80 << 10  # more than DPDK takes of eal.memory with one port


def memory_kib(pid):
    """Resident, of it in explicit huge pages; transparent ones are in Rss."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        kib = {line.split(":")[0]: int(line.split()[1]) for line in f if line.endswith("kB\n")}
    huge = kib.get("Private_Hugetlb", 0) + kib.get("Shared_Hugetlb", 0)
    return kib["Rss"] + huge, huge, kib.get("AnonHugePages", 0)


def hugepages_there():
    with open("/proc/sys/vm/nr_hugepages", encoding="ascii") as f:
        return int(f.read()) * 2048 >= EAL_MEMORY_KIB


def say(what, pid):
    all_kib, huge, transparent = memory_kib(pid)
    print(f"{what}: {all_kib / 1024:.0f} MiB resident, of it {huge / 1024:.0f} in hugetlbfs, "
          f"{transparent / 1024:.0f} in transparent huge pages", flush=True)


def main():
    build = sys.argv[1] if len(sys.argv) > 1 else "build"
    events = int(sys.argv[2]) if len(sys.argv) > 2 else 1000000
    with Rig(build) as rig:
        rig.gen_run("in", timeout=600, count=events, pcap=rig.path("in.pcap"), dst=f"10.0.0.2:{UDP_PORT}",
                    events_per_datagram=6)
        daemon = Daemon(rig, "small", [{"name": "file", "device": f"net_pcap0,rx_pcap={rig.path('in.pcap')}"}],
                        sinks=False)
        for section in ("eal", "worker", "journal", "rules", "log"):
            del daemon.config[section]
        if not hugepages_there():
            daemon.config["eal"] = {"hugepages": False}
        start = time.monotonic()
        daemon.start(wait=0)
        while daemon.counter("journaled") <= 0 and daemon.alive():
            time.sleep(0.01)
        if not daemon.alive():
            sys.exit(daemon.log_tail())
        print(f"start to the first durable event, as the control socket shows it: {time.monotonic() - start:.2f} s, "
              f"{cpu_seconds(daemon.child.pid):.2f} s of CPU")
        say("then", daemon.child.pid)
        daemon.wait_input_ended(600)
        daemon.wait_quiet(60)
        say(f"after {daemon.counter('journaled')} events", daemon.child.pid)
        daemon.stop()


main()
