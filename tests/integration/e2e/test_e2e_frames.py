"""What frames come as: real packets from a network namespace through a veth pair, into net_pcap (which sees what is on
the wire, and spreads a long frame over several mbufs) and into net_af_packet (where the kernel takes tags off and puts
IPv4 fragments together, and a frame of the ring must hold the result). The journal is read as it lies on disk. No sink.

Shown: datagrams of 20 KB that the kernel cuts, IPv4 and IPv6; jumbo frames; VLAN tags; IPv4 options and an IPv6 header
before UDP; the kernel's VXLAN over IPv4 and IPv6, with fragments within and around; GRE and ERSPAN. Each event is there
once, with the inner source address; fragments that stay alone are dropped when their time is over; the ledger balances.
Where the kernel has VLAN and GRE devices they send, too."""
import collections
import json
import os
import subprocess
import sys

from daemon import Daemon
from netns import SENDER, TARGET, Sender, ip
from rig import Rig, say, wait_until

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "frame_sender.py")
PORT = 8125
BIG = 1300  # counters in 20 KB
NOISE = {"not_ip", "not_udp"}  # the sender's kernel looks for neighbours and multicast routers
WITHIN = {4: ("198.51.100.1", "198.51.100.2"), 6: ("2001:db8:7::1", "2001:db8:7::2")}


class Jobs:
    """What is sent, and what must be there of it: prefix -> (events, source address)."""

    def __init__(self):
        self.tasks, self.want = [], {}

    def add(self, prefix, count, source, **task):
        self.tasks.append({**task, "port": PORT, "names": {"prefix": prefix, "count": count}})
        if source:
            self.want[prefix] = (count, source)

    def crafted(self, prefix, family, count=20, **task):
        src, dst = WITHIN[family]
        self.add(prefix, count, src, src=src, dst=dst, **task)


def device(sender, name, *args, mtu=0):
    """A device of the sender's kernel with addresses behind it; False: the kernel has no such kind."""
    done = subprocess.run([*sender.run, "ip", "link", "add", name, *args], capture_output=True, text=True, check=False)
    if done.returncode:
        say(f"the kernel has no {name}: {done.stderr.strip()}")
        return False
    if mtu:
        sender.inside("ip", "link", "set", name, "mtu", str(mtu))
    sender.inside("ip", "link", "set", name, "up")
    subprocess.run([*sender.run, "ethtool", "-K", name, "tx", "off"], capture_output=True, check=False)
    return True


def addressed(sender, name, number):
    """Addresses of its own for a device; returns (source, destination) by family."""
    out = {4: (f"198.51.{number}.1", f"198.51.{number}.2"), 6: (f"2001:db8:{number}::1", f"2001:db8:{number}::2")}
    for family, (src, dst) in out.items():
        sender.inside("ip", "addr", "add", src + ("/24" if family == 4 else "/64"), "dev", name,
                      *(["nodad"] if family == 6 else []))
        sender.inside("ip", "neigh", "replace", dst, "lladdr", "02:00:00:00:00:09", "nud", "permanent", "dev", name)
    return out


def kernel_jobs(sender, jobs):
    """Devices of the sender's kernel: VXLAN, and VLAN and GRE where it has them."""
    kinds = {
        "vx4": ["type", "vxlan", "id", "7", "local", SENDER[4], "remote", TARGET[4], "dstport", "4789"],
        "vx6": ["type", "vxlan", "id", "8", "local", SENDER[6], "remote", TARGET[6], "dstport", "4789",
                "udp6zerocsumtx"],
        "vxsum": ["type", "vxlan", "id", "9", "local", SENDER[4], "remote", TARGET[4], "dstport", "4789", "udpcsum"],
        "tag5": ["link", sender.theirs, "type", "vlan", "id", "5"],
        "gre4": ["type", "gretap", "local", SENDER[4], "remote", TARGET[4]],
        "span4": ["type", "erspan", "local", SENDER[4], "remote", TARGET[4], "seq", "key", "9", "erspan_ver", "1"],
    }
    for number, (name, args) in enumerate(kinds.items(), 101):
        # vxsum: longer than the wire's, so that what is around is cut, too; over IPv6 the kernel does not do that
        mtu = {"vxsum": 6000, "vx6": 1430, "vx4": 1450}.get(name, 0)
        if not device(sender, name, *args, mtu=mtu):
            continue
        for family, (src, dst) in addressed(sender, name, number).items():
            jobs.add(f"{name}.v{family}", BIG, src, how="udp", to=dst)


def crafted_jobs(sender, jobs):
    with open(f"/sys/class/net/{sender.ours}/address", encoding="ascii") as f:
        mac = f.read().strip()
    wire = {"how": "frame", "iface": sender.theirs, "mac": mac}
    for family in (4, 6):
        for name, tags in {"none": [], "vlan": [[0x8100, 5]], "qinq": [[0x88a8, 5], [0x8100, 6]]}.items():
            jobs.crafted(f"{name}.v{family}", family, tags=tags, **wire)
        for kind in ("ip", "ethernet", "erspan1", "erspan2", "erspan3"):
            for outer in (4, 6):
                jobs.crafted(f"{kind}.v{family}in{outer}", family, how="gre", kind=kind, to=TARGET[outer])
    deep = {"src": WITHIN[4][0], "dst": WITHIN[4][1], "tags": [[0x88a8, 1], [0x8100, 2], [0x8100, 3]]}
    jobs.add("deep", 20, None, **deep, **wire)  # dropped: three tags


def records(rig, daemon):
    out = subprocess.run([rig.program("sluicectl"), "--json", "journal", "dump", "--dir", daemon.data + "/journal"],
                         capture_output=True, text=True, timeout=60, check=True).stdout
    return [r for r in map(json.loads, out.splitlines()) if r["kind"] in ("event", "refused")]


def check(rig, daemon, want, what):
    names, sources = collections.Counter(), {}
    for r in records(rig, daemon):
        event = json.loads(r["payload"]) if r["kind"] == "event" else {"name": "refused.0", "device_id": r["payload"]}
        names[event["name"]] += 1
        prefix = event["name"].rsplit(".", 1)[0]
        sources.setdefault(prefix, set()).add(event["device_id"])
    rig.expect(not [n for n, count in names.items() if count != 1], f"{what}: no event twice")
    counts = collections.Counter(n.rsplit(".", 1)[0] for n in names)
    have = {p: (counts[p], *sources[p]) for p in counts}
    wrong = [(p, have.get(p), want.get(p)) for p in have.keys() | want if have.get(p) != want.get(p)]
    rig.expect(not wrong, f"{what}: {len(want)} kinds of datagrams, {sum(names.values())} events, each with its source "
               f"{wrong}")


def send(sender, tasks):
    for task in tasks:  # one at a time: a socket's buffer is no part of this
        sender.inside(sys.executable, PROGRAM, json.dumps([task]))


def worker_sum(daemon, name):
    text = subprocess.run([daemon.rig.program("sluicectl"), "--socket", daemon.socket, "metrics"], capture_output=True,
                          text=True, check=True, timeout=60).stdout
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"sluice_worker_{name}{{"))


def run(rig, sender, name, ports, reassembled):
    """All kinds of frames into one port."""
    jobs = Jobs()
    daemon = Daemon(rig, name, ports, workers=1, sinks=False, eal={"mbufs": 2047}, worker={"fragment_timeout": "3s"})
    daemon.config["listeners"] = [{"name": "statsd", "udp_port": PORT, "format": "statsd"}]
    if not rig.expect(daemon.start(), f"{name}: sluiced runs"):
        print(daemon.log_tail(), flush=True)
        return
    for family in (4, 6):
        jobs.add(f"big.v{family}", BIG, SENDER[family], how="udp", to=TARGET[family])
    kernel_jobs(sender, jobs)
    crafted_jobs(sender, jobs)
    send(sender, jobs.tasks)
    for end in (sender.ours, sender.theirs):
        run_in = [] if end == sender.ours else sender.run
        subprocess.run([*run_in, "ip", "link", "set", end, "mtu", "9000"], check=True)
    jumbo = Jobs()
    for family in (4, 6):
        jumbo.add(f"jumbo.v{family}", 560, SENDER[family], how="udp", to=TARGET[family])
    send(sender, jumbo.tasks)
    want = {**jobs.want, **jumbo.want}
    total = sum(count for count, _ in want.values())
    rig.expect(wait_until(lambda: daemon.counter("accepted") >= total, 90, f"{total} events"), f"{name}: all has come")
    lone = Jobs()
    lone.crafted("lone", 4, how="gre", kind="ip", to=TARGET[6], part=64)
    before = daemon.drops().get("fragment_timeout", 0)
    send(sender, lone.tasks)
    rig.expect(wait_until(lambda: daemon.drops().get("fragment_timeout", 0) == before + 1, 60, "the timeout"),
               f"{name}: a fragment alone is dropped when its time is over")
    rig.expect(daemon.wait_quiet(), f"{name}: quiet")
    daemon.expect_balanced(name)
    drops = daemon.drops()
    rest = {k: v for k, v in drops.items() if k not in NOISE}
    rig.expect(rest == {"vlan": 1, "fragment_timeout": 1}, f"{name}: drops {drops}")
    have = (worker_sum(daemon, "reassembled_total"), worker_sum(daemon, "fragments_held"))
    rig.expect(have[0] >= reassembled and have[1] == 0, f"{name}: {have[0]:.0f} packets put together, none waits")
    rig.expect(worker_sum(daemon, "decapsulated_total") >= 20, f"{name}: tunnels were taken off")
    daemon.stop_well(name)
    check(rig, daemon, want, name)
    for link in ("vx4", "vx6", "vxsum", "tag5", "gre4", "span4"):
        subprocess.run([*sender.run, "ip", "link", "del", link], capture_output=True, check=False)
    subprocess.run([*sender.run, "ip", "link", "set", sender.theirs, "mtu", "1500"], check=True)
    ip("link", "set", sender.ours, "mtu", "1500")


def refused(rig, ports, words):
    daemon = Daemon(rig, "refused", ports, workers=1, sinks=False)
    daemon.config["listeners"] = [{"name": "statsd", "udp_port": PORT, "format": "statsd"}]
    started = daemon.start()
    rig.expect(not started and words in daemon.log_tail(), f"refused at start: {words}")
    if started:
        daemon.stop()


with Rig(sys.argv[1], root=True) as rig:
    sender = Sender(rig)
    port = {"name": "wire", "decap": "any"}
    run(rig, sender, "pcap", [{**port, "device": f"net_pcap0,rx_iface_in={sender.ours}"}], reassembled=8)
    ring = f"net_af_packet0,iface={sender.ours},blocksz=131072,framesz=32768,framecnt=2048"
    run(rig, sender, "ring", [{**port, "device": ring, "mtu": 9000}], reassembled=4)
    small = f"net_af_packet1,iface={sender.ours},blocksz=65536,framesz=2048,framecnt=1024"
    refused(rig, [{**port, "device": small, "mtu": 9000}], "mtu 9000 needs framesz=9080 or more in device")
    refused(rig, [{**port, "device": small, "decap": "vxlan,gretap"}], "'gretap' is no tunnel")
rig.done()
