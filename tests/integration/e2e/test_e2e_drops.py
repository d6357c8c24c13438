"""Where an event was lost, by the name it is counted under, for places before the journal that other tests do not
reach: the link (down for a while), the NIC's ring (sluiced is frozen, the kernel's ring runs over). The sender numbers
its events (format sluice), so that what never came is known, too. No sink.

Shown: the port is seen to be down, and said to be; each event that was sent is journaled, or counted once: as missing
from its producer's count, of which the ring's part is the port's `kernel_drops` exactly, with af_xdp and its
`rx_missed`; the ledger balances."""
import json
import os
import signal
import subprocess
import sys

from daemon import Daemon
from netns import TARGET, Sender, ip
from rig import Rig, wait_until

CLIENTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../clients/python")
PORT, WINDOW = 5140, 1024
LINK, RING = 300, 30000
# One event a datagram, so that frames, datagrams and events are the same number. Sends as many as each line says, then
# says its id.
CLIENT = """
import sys, time
sys.path.insert(0, sys.argv[1])
from sluice_client import Client
c = Client(sys.argv[2], int(sys.argv[3]), ack=False, datagram_bytes=256)
for line in sys.stdin:
    for i in range(int(line)):
        c.send('{"type":"log","source":"s","message":"m","ts":%d}' % (time.time() * 1000) + ' ' * 100)
        c.flush()
    print("%016x" % c.producer, flush=True)
"""


class Numbered:
    def __init__(self, sender):
        self.child = subprocess.Popen(
            [*sender.run, sys.executable, "-c", CLIENT, CLIENTS, TARGET[4], str(PORT)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.sent, self.id = 0, ""

    def send(self, count):
        self.child.stdin.write(f"{count}\n")
        self.child.stdin.flush()
        self.id = self.child.stdout.readline().strip()
        self.sent += count

    def seen(self, daemon):
        rows = [p for p in daemon.ctl("producers")["producers"] if p["producer"] == self.id]
        return rows[0] if rows else {}


def port(daemon):
    return daemon.ctl("ports")["ports"][0]


def ring_drops(daemon):
    counters = port(daemon)
    return sum(counters[name] for name in ("kernel_drops", "rx_missed") if counters[name] != "unknown")


def link_down(rig, daemon, sender, numbered):
    ip("link", "set", sender.ours, "down")
    rig.expect(wait_until(lambda: port(daemon)["link"] == "down", 60, "the link is seen down"), "the port is down")
    rig.expect(wait_until(lambda: "PORT DOWN" in daemon.log_tail(1 << 20), 60, "PORT DOWN"), "the log says so")
    numbered.send(LINK)
    ip("link", "set", sender.ours, "up")
    rig.expect(wait_until(lambda: port(daemon)["link"] == "up", 60, "the link is seen up"), "and up again")
    numbered.send(WINDOW)
    rig.expect(wait_until(lambda: numbered.seen(daemon).get("missing") == LINK, 60, "missing"),
               f"its events are missing, all of them: {numbered.seen(daemon)}")
    rig.expect(ring_drops(daemon) == 0, "and nothing else lost any")


def ring_full(rig, daemon, numbered):
    os.kill(daemon.child.pid, signal.SIGSTOP)
    numbered.send(RING)
    os.kill(daemon.child.pid, signal.SIGCONT)
    rig.expect(daemon.wait_quiet(), "what the ring held is durable")

    def settled():  # what is as new as the window may still come; the ring may still be full when it is let go
        numbered.send(WINDOW)
        if not daemon.wait_quiet():
            return False
        seen = numbered.seen(daemon)
        return seen.get("open") == 0 and seen["events"] + seen["missing"] == numbered.sent

    rig.expect(wait_until(settled, 90, "nothing that may still come"), "and nothing can still come")
    drops, kernel, seen = ring_drops(daemon), port(daemon)["kernel_drops"], numbered.seen(daemon)
    rig.expect(drops > 0, f"the ring ran over: {drops} frames")
    rig.expect(seen["missing"] == LINK + drops and seen["open"] == 0,
               f"its events are missing by as many: {seen['missing']} = {LINK} + {drops}, open {seen['open']}")
    text = daemon.ctl("metrics")["text"]
    rig.expect(f'sluice_port_kernel_drops_total{{port="veth"}} {kernel}\n' in text, "the metrics say so")


with Rig(sys.argv[1], root=True) as rig:
    sender = Sender(rig)
    # nothing but the numbered events on the wire: a router solicitation lost in the ring would be one drop more
    sender.inside("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
    daemon = Daemon(rig, "drops", sender.af_packet(1, 4096), workers=1, sinks=False)
    daemon.config["listeners"] = [{"name": "numbered", "udp_port": PORT, "format": "sluice"}]
    rig.expect(daemon.start(), "sluiced runs")
    numbered = Numbered(sender)
    rig.closers.append(numbered.child.kill)
    numbered.send(100)
    rig.expect(wait_until(lambda: numbered.seen(daemon).get("events") == 100, 60, "events"), "all came at first")
    link_down(rig, daemon, sender, numbered)
    ring_full(rig, daemon, numbered)
    daemon.expect_balanced("at the end")
    seen = numbered.seen(daemon)
    rig.expect(seen["events"] + seen["missing"] == numbered.sent and seen["repeated"] == seen["dropped"] == 0,
               f"each of {numbered.sent} events came or is missing: {seen}")
    daemon.stop_well("at the end")
    out = subprocess.run([rig.program("sluicectl"), "--json", "journal", "dump", "--dir", daemon.data + "/journal"],
                         capture_output=True, text=True, timeout=60, check=True).stdout
    journaled = sum(json.loads(line)["kind"] == "event" for line in out.splitlines())
    rig.expect(journaled == seen["events"], f"what came is journaled: {journaled}")
rig.done()
