"""A sender's network namespace, joined to us by a veth pair. Our end has no address, so that the kernel does not
answer what is meant for the port; the sender knows our MAC by static neighbours, for IPv4 and IPv6, or has to ask."""
import os
import subprocess

from janitor import janitor_note
from rig import skip

SENDER, TARGET = {4: "192.0.2.1", 6: "2001:db8::1"}, {4: "192.0.2.2", 6: "2001:db8::2"}


def ip(*args, check=True):
    return subprocess.run(["ip", *args], capture_output=True, text=True, check=check).stdout


class Sender:
    def __init__(self, rig, static=True):
        self.rig, self.static = rig, static
        # a name of its own per process: two tests at the same time do not meet
        self.ns, self.ours, self.theirs = f"sluice{os.getpid()}", f"slo{os.getpid()}"[:15], f"sls{os.getpid()}"[:15]
        self.run = ["ip", "netns", "exec", self.ns]
        janitor_note(rig.dir, "netns", self.ns)
        janitor_note(rig.dir, "link", self.ours)
        rig.closers.append(self.close)
        try:
            self.make()
        except (OSError, subprocess.CalledProcessError) as e:
            self.close()
            skip(f"no network namespace with a veth pair can be made: {getattr(e, 'stderr', '') or e}")

    def pair(self, one, other):
        """Two ends of a wire, down, on which the kernel says nothing by itself."""
        ip("link", "add", one, "type", "veth", "peer", "name", other)
        for end in (one, other):
            with open(f"/proc/sys/net/ipv6/conf/{end}/disable_ipv6", "w", encoding="ascii") as f:
                f.write("1")

    def wire(self):
        """From `theirs`, not yet in the namespace, to `ours`."""
        self.pair(self.ours, self.theirs)

    def make(self):
        ip("netns", "add", self.ns)
        self.wire()
        ip("link", "set", self.theirs, "netns", self.ns)
        ip("link", "set", self.ours, "up")
        with open(f"/sys/class/net/{self.ours}/address", encoding="ascii") as f:
            mac = f.read().strip()
        self.inside("ip", "link", "set", "lo", "up")
        self.inside("ip", "addr", "add", SENDER[4] + "/24", "dev", self.theirs)
        self.inside("ip", "addr", "add", SENDER[6] + "/64", "dev", self.theirs, "nodad")
        self.inside("ip", "link", "set", self.theirs, "up")
        for family in (4, 6) if self.static else ():
            self.inside("ip", "neigh", "replace", TARGET[family], "lladdr", mac, "nud", "permanent", "dev", self.theirs)
        # without this the sender leaves UDP checksums to hardware that is not there
        self.inside("ethtool", "-K", self.theirs, "tx", "off")

    def inside(self, *args):
        return subprocess.run([*self.run, *args], capture_output=True, text=True, check=True).stdout

    def close(self):
        ip("link", "del", self.ours, check=False)
        ip("netns", "del", self.ns, check=False)

    def target(self, family, port):
        return f"{TARGET[4]}:{port}" if family == 4 else f"[{TARGET[6]}]:{port}"

    def gen(self, name, family, port, **options):
        """The generator inside the namespace."""
        return self.rig.gen(name, prefix=self.run, udp=self.target(family, port), **options)

    def af_packet(self, queues=2, frames=16384):
        """The port on our end. The kernel's ring holds seconds of what the tests send, so that a busy machine loses
        none. SLUICE_E2E_DRIVER=af_xdp: by that driver instead, with the one queue that a veth has."""
        if os.environ.get("SLUICE_E2E_DRIVER") == "af_xdp":
            return self.af_xdp()
        device = f"net_af_packet0,iface={self.ours},qpairs={queues},blocksz=65536,framesz=2048,framecnt={frames}"
        return [{"name": "veth", "device": device, "queues": queues}]

    def af_xdp(self):
        """As many descriptors as the driver takes."""
        return [{"name": "veth", "device": f"net_af_xdp0,iface={self.ours}", "queues": 1, "descriptors": 2048}]
