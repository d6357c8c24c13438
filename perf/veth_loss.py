#!/usr/bin/env python3
"""What gets lost between a sender's kernel and the journal, rate by rate.

    perf/veth_loss.py BUILD_DIR [SECONDS] [RATE...]      10 s each of 50,000 to 300,000 datagrams a second

udp_blast in a network namespace sends datagrams of one unique click each through a veth pair to DPDK's af_packet port
of a sluiced with one worker, one partition with a durable journal and deduplication, no sinks. Per rate: what was sent,
what of it is no datagram at the listener, with the kernel's counter, and what was dropped behind that by name; and CPU
time a datagram. `late`: how far the sender fell behind its schedule; if that is much, the rate was not offered. Needs
root. BUILD_DIR needs perf/udp_blast (-Dbench=true)."""
import sys

from common import machine_seconds
from receive import UDP_PORT, blast, click_datagrams, cpu_apart, receiver
from netns import Sender
from rig import Rig, wait_until


def counters(daemon):
    status = daemon.ctl("status") or {}
    ports = (daemon.ctl("ports") or {}).get("ports", [{}])
    return (status["events"], {d["reason"]: d["count"] for d in status.get("drops", [])},
            sum(p.get("kernel_drops") or 0 for p in ports))


def measure(rig, daemon, sender, rate, seconds):
    path = click_datagrams(rig, rate * seconds, 1, rate)
    events, drops, kernel = counters(daemon)
    cpu, soft = cpu_apart(daemon.child.pid), machine_seconds()["softirq"]
    sent = blast(rig, sender, path, UDP_PORT, rate, rate * seconds)
    want = events["datagrams"] + sent["sent"]
    wait_until(lambda: daemon.counter("datagrams") >= want, 2, "all datagrams")
    daemon.wait_quiet(20)
    after, drops_after, kernel_after = counters(daemon)
    user, system = (b - a for a, b in zip(cpu, cpu_apart(daemon.child.pid)))
    came = after["datagrams"] - events["datagrams"]
    named = {k: v - drops.get(k, 0) for k, v in drops_after.items() if v - drops.get(k, 0)}
    per = 1e9 / max(came, 1)
    lost = (f"lost before the listener {int(sent['sent']) - came} (kernel ring {kernel_after - kernel}), "
            f"behind it {named or 0}")
    print(f"{rate:>8}/s offered, {sent['sent'] / sent['seconds']:>9,.0f}/s sent, late {sent['late']:.3f} s: {lost}; "
          f"ns a datagram: user {user * per:.0f}, system {system * per:.0f}, softirq of the machine "
          f"{(machine_seconds()['softirq'] - soft) * per:.0f}", flush=True)


def main():
    build = sys.argv[1] if len(sys.argv) > 1 else "build"
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    rates = [int(r) for r in sys.argv[3:]] or [50000, 100000, 150000, 200000, 250000, 300000]
    with Rig(build, root=True) as rig:
        sender = Sender(rig)
        daemon = receiver(rig, "loss", sender, {"format": "ndjson"})
        if not daemon.start():
            sys.exit(daemon.log_tail())
        for rate in rates:
            measure(rig, daemon, sender, rate, seconds)
        daemon.stop()


main()
