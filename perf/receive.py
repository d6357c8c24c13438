"""What scripts that measure receivers share: files of datagrams for udp_blast, sluiced with an af_packet port and
nothing behind the journal, CPU time of a process with user and system apart."""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "integration", "e2e"))
from daemon import UDP_PORT, Daemon  # noqa: E402  (needs the path above)
from janitor import janitor_note  # noqa: E402
from netns import TARGET, ip  # noqa: E402

# Frames of 2 KiB in blocks of 64 KiB: the PMD's own default loses half of what comes.
RING = "blocksz=65536,framesz=2048,framecnt=8192"


def cpu_apart(pid):
    """(user, system) seconds of a process, all its threads."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    tick = os.sysconf("SC_CLK_TCK")
    return int(fields[11]) / tick, int(fields[12]) / tick


def datagrams_write(path, datagrams):
    with open(path, "wb") as f:
        for d in datagrams:
            f.write(len(d).to_bytes(2, "little") + d)


def click_datagrams(rig, events, per_datagram, seed):
    """Unique clicks as sluice-gen makes them; other ones for another seed."""
    lines = rig.path("clicks")
    subprocess.run([rig.program("gen"), "--file", lines, "--count", str(events), "--seed", str(seed)], check=True,
                   capture_output=True)
    path = rig.path("clicks.blast")
    lines_pack(lines, path, per_datagram)
    os.unlink(lines)
    return path


def lines_pack(lines, path, per_datagram):
    """A file of so many lines a datagram; those that do not fill one are left out."""
    held = []
    with open(lines, "rb") as f, open(path, "wb") as out:
        for line in f:
            held.append(line)
            if len(held) == per_datagram:
                body = b"".join(held)
                out.write(len(body).to_bytes(2, "little") + body)
                held = []


def blast(rig, sender, path, port, rate, count):
    """The sender's numbers, when it is done."""
    out = subprocess.run([*sender.run, os.path.join(rig.build, "perf", "udp_blast"), path, TARGET[4], str(port),
                          str(rate), str(count)], check=True, capture_output=True, text=True)
    return {k: float(v) for k, v in (pair.split("=") for pair in out.stdout.split())}


def receiver(rig, name, sender, listener, **sections):
    """sluiced: one worker, one queue, a durable journal of one partition, no sinks, no state stage."""
    port = {"name": "veth", "device": f"net_af_packet0,iface={sender.ours},qpairs=1,{RING}"}
    daemon = Daemon(rig, name, [port], workers=1, sinks=False)
    daemon.config["journal"] = {"partitions": 1, "segments_max": 16}
    daemon.config["worker"] = {"count": 1}
    daemon.config["state"] = {"enabled": False}
    daemon.config["rules"] = {"dir": ""}
    daemon.config["listeners"] = [dict({"name": "in", "udp_port": UDP_PORT}, **listener)]
    for section, body in sections.items():
        daemon.config.setdefault(section, {}).update(body)
    return daemon


class KernelEnd:
    """Our end of the pair in a namespace of its own, with the target's address, for a receiver that is the kernel's: an
    address among everybody's would also take what other senders mean for their ports."""

    def __init__(self, rig, sender):
        self.sender, self.ns = sender, f"slk{os.getpid()}"
        self.run = ["ip", "netns", "exec", self.ns]
        janitor_note(rig.dir, "netns", self.ns)

    def __enter__(self):
        ip("netns", "add", self.ns)
        ip("link", "set", self.sender.ours, "netns", self.ns)
        for words in (["link", "set", "lo", "up"], ["addr", "add", TARGET[4] + "/24", "dev", self.sender.ours],
                      ["link", "set", self.sender.ours, "up"]):
            subprocess.run([*self.run, "ip", *words], check=True)
        return self

    def __exit__(self, *_):
        subprocess.run([*self.run, "ip", "link", "set", self.sender.ours, "netns", "1"], check=False)
        ip("netns", "del", self.ns, check=False)
        ip("link", "set", self.sender.ours, "up", check=False)
