"""A port with addresses (ports.addresses): the sender's namespace has no static neighbour, so its kernel asks, and
sluiced answers, on af_packet over a veth pair. No sink.

Shown: events by IPv4 and IPv6 arrive, the kernel having found the port's MAC; pings of both kinds are answered, but one
longer than the MTU; so are questions in a VLAN, with its tag; an address that the port does not have is not answered; a
flood of ARP requests is answered up to the limit, counted, and costs no event beside it; a producer with
acknowledgements gets them through the same queue; another host with the port's address is named in the log; the ledger
balances; without addresses the same sender reaches nobody, and `sluicectl ports` says why; what does not go together is
refused."""
import json
import os
import subprocess
import sys

from daemon import Daemon, now_ms
from netns import TARGET as TARGETS
from netns import Sender
from rig import Rig, say, wait_until

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "neighbour_asker.py")
EVENTS, ACKED, PRODUCERS = 5140, 5141, 3000
# not those of other tests: the machine may have one of these, and Linux answers for it on every interface
SENDER4, TARGET = "198.18.7.1", {4: "198.18.7.2", 6: TARGETS[6]}
TAGGED = {4: ("198.51.100.1", "198.51.100.2"), 6: ("2001:db8:7::1", "2001:db8:7::2")}
STRANGER = {4: "198.18.7.9", 6: "2001:db8::9"}
FLOOD = 5000
MTU = 1400


class Asker:
    def __init__(self, rig, sender):
        self.rig, self.sender = rig, sender

    def ask(self, **job):
        done = subprocess.run([*self.sender.run, sys.executable, PROGRAM, json.dumps(job)], capture_output=True,
                              text=True, timeout=120, check=False)
        if done.returncode:
            say(done.stderr[-500:])
            return None
        return json.loads(done.stdout)

    def neighbour(self, address, device):
        """(MAC, state) as the sender's kernel has it; states that are none: FAILED, INCOMPLETE."""
        rows = json.loads(self.sender.inside("ip", "-json", "neigh", "show", address, "dev", device) or "[]")
        return (rows[0].get("lladdr"), rows[0].get("state")) if rows else (None, None)

    def start_events(self, to, count):
        """Plain UDP of one event each, by the sender's kernel; the first one waits for the neighbour."""
        code = ("import socket, sys, time\n"
                "s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)\n"
                "for i in range(int(sys.argv[3])):\n"
                "    s.sendto(b'{\"type\":\"log\",\"source\":\"s\",\"message\":\"m\",\"ts\":%d}'\n"
                "             % (time.time() * 1000), (sys.argv[1], int(sys.argv[2])))\n"
                "    time.sleep(0.5 if i == 0 else 0.001)\n")
        child = subprocess.Popen([*self.sender.run, sys.executable, "-c", code, to, str(EVENTS), str(count)])
        self.rig.children.append(child)
        return child

    def send_events(self, to, count):
        self.rig.expect(self.start_events(to, count).wait(60) == 0, f"{count} events sent to {to}")


def metric(daemon, name):
    text = (daemon.ctl("metrics") or {}).get("text", "")
    return sum(int(line.split()[-1]) for line in text.splitlines() if line.startswith(f"sluice_worker_{name}_total{{"))


def accepted(rig, daemon, count, what):
    rig.expect(wait_until(lambda: daemon.counter("accepted") >= count, 90, f"{count} events"), what)
    rig.expect(daemon.counter("accepted") == count, f"{count} events, no more")
    return count


def vlan(rig, sender, asker):
    """A tagged device of the sender, with addresses of its own; False: its kernel has no such kind."""
    done = subprocess.run([*sender.run, "ip", "link", "add", "tag5", "link", sender.theirs, "type", "vlan", "id", "5"],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        say(f"the kernel has no VLAN devices: {done.stderr.strip()}")
        return False
    for family, (source, _) in TAGGED.items():
        sender.inside("ip", "addr", "add", source + ("/24" if family == 4 else "/64"), "dev", "tag5",
                      *(["nodad"] if family == 6 else []))
    sender.inside("ip", "link", "set", "tag5", "up")
    subprocess.run([*sender.run, "ethtool", "-K", "tag5", "tx", "off"], capture_output=True, check=False)
    for family, (_, target) in TAGGED.items():
        rig.expect(asker.ask(how="ping", to=target, count=2) == 2, f"IPv{family} in a VLAN: pings are answered")
        asker.send_events(target, 20)
    return True


def resolved(rig, sender, asker, daemon, mac):
    """Everything that is answered."""
    count = 0
    for family in (4, 6):
        asker.send_events(TARGET[family], 100)
        count = accepted(rig, daemon, count + 100, f"IPv{family}: all events arrive")
        have = asker.neighbour(TARGET[family], sender.theirs)
        rig.expect(have[0] == mac, f"IPv{family}: the sender's kernel has found {have}")
        rig.expect(asker.ask(how="ping", to=TARGET[family], count=3) == 3, f"IPv{family}: pings are answered")
    got = asker.ask(how="arp", iface=sender.theirs, to=TARGET[4], source=SENDER4, count=3, tag=0x6005)
    rig.expect(got == {"answers": 3, "macs": [mac]}, f"with a tag: answered with it: {got}")
    if vlan(rig, sender, asker):
        count = accepted(rig, daemon, count + 40, "events in a VLAN arrive")
    for family in (4, 6):
        asker.send_events(STRANGER[family], 2)
        rig.expect(wait_until(lambda: "FAILED" in (asker.neighbour(STRANGER[family], sender.theirs)[1] or []), 60,
                              "no neighbour"), f"IPv{family}: nobody answers for another address")
    return count


def set_mtu(sender, mtu):
    subprocess.run(["ip", "link", "set", sender.ours, "mtu", str(mtu)], check=True)


def at_mtu(rig, asker, daemon):
    """The interface's MTU is below the configuration's, and a little more than it comes in."""
    before = metric(daemon, "neighbour_unsent")
    rig.expect(asker.ask(how="ping", to=TARGET[4], count=1, more=MTU - 28) == 1, "a ping of the MTU is answered")
    rig.expect(asker.ask(how="ping", to=TARGET[4], count=1, more=MTU - 27, wait=1) == 0, "one of a byte more is not")
    rig.expect(wait_until(lambda: metric(daemon, "neighbour_unsent") == before + 1, 60, "unsent"), "but counted")


def too_long(rig, asker, daemon):
    """Pings of fragments. af_packet has them put together by the kernel, but no frame takes the answer; elsewhere they
    stay fragments, which are not answered."""
    before = {name: metric(daemon, name) for name in ("neighbour_answered", "neighbour_unsent")}
    got = asker.ask(how="ping", to=TARGET[4], count=2, more=1600, wait=1)
    unsent = 2 if daemon.config["ports"][0]["device"].startswith("net_af_packet") else 0
    rig.expect(wait_until(lambda: metric(daemon, "neighbour_unsent") - before["neighbour_unsent"] >= unsent, 60,
                          "unsent"), f"of two pings longer than the MTU {unsent} are counted as unsent")
    now = {name: metric(daemon, name) - was for name, was in before.items()}
    rig.expect(got == 0 and now == {"neighbour_answered": 0, "neighbour_unsent": unsent}, f"none answered: {got} {now}")


def flood(rig, sender, asker, daemon, mac, count):
    """Requests at full speed, beside them events and, for more than a second, pings. A ping may find the port busy,
    and is asked again."""
    before = {name: metric(daemon, name) for name in ("neighbour_answered", "neighbour_unsent")}
    beside = subprocess.Popen([*sender.run, sys.executable, PROGRAM,
                               json.dumps({"how": "ping", "to": TARGET[4], "count": 20, "tries": 3, "pause": 0.06})],
                              stdout=subprocess.PIPE, text=True)
    rig.closers.append(beside.kill)
    events = asker.start_events(TARGET[4], 2000)
    got = asker.ask(how="arp", iface=sender.theirs, to=TARGET[4], source=SENDER4, count=FLOOD, tag=0) or {}
    pings = json.loads(beside.communicate(timeout=120)[0] or "0")
    rig.expect(events.wait(60) == 0, "events were sent beside it")
    rig.expect(pings == 20, f"pings beside it are answered: {pings}")
    rig.expect(wait_until(lambda: sum(metric(daemon, name) - was for name, was in before.items()) >= FLOOD + pings, 60,
                          "each request counted"), f"each of {FLOOD} requests is counted")
    now = {name: metric(daemon, name) - was for name, was in before.items()}
    rig.expect(got.get("macs") == [mac] and 0 < got["answers"] <= now["neighbour_answered"] - pings,
               f"answers came, as many as were counted at most: {got} {now}")
    rig.expect(now["neighbour_unsent"] >= FLOOD / 2, "and not to all: the others are counted as unsent")
    return accepted(rig, daemon, count + 2000, "no event is lost beside it")


def acked(rig, sender, daemon, count):
    """Acknowledgements leave by the queue that the answers leave by."""
    with open(rig.path("acked.ndjson"), "w", encoding="ascii") as f:
        f.writelines('{"type":"log","source":"s","message":"m","ts":%d}\n' % now_ms() for _ in range(PRODUCERS))
    done = subprocess.run([*sender.run, rig.program("send"), "--to", sender.target(6, ACKED), "--timeout", "60",
                           rig.path("acked.ndjson")], capture_output=True, text=True, timeout=180, check=False)
    words = dict(pair.split("=") for pair in done.stdout.split())
    rig.expect(done.returncode == 0 and words.get("acked") == str(PRODUCERS),
               f"each event is acknowledged: {done.stdout.strip()} {done.stderr[-300:]}")
    # what was repeated meanwhile is accepted again, and found to be a duplicate
    rig.expect(daemon.counter("accepted") >= count + PRODUCERS, "and is there")


def conflict(rig, sender, asker, daemon):
    asker.ask(how="claim", iface=sender.theirs, address=TARGET[4], mac="02:00:00:00:00:77")
    rig.expect(wait_until(lambda: metric(daemon, "neighbour_conflicts") == 1, 60, "the conflict"), "it is counted")
    rig.expect(wait_until(lambda: "ADDRESS CONFLICT" in daemon.log_tail(1 << 20), 60, "ADDRESS CONFLICT"),
               "another host with the port's address is named in the log")
    line = [x for x in daemon.log_tail(1 << 20).splitlines() if "ADDRESS CONFLICT" in x][0]
    rig.expect(TARGET[4] in line and "02:00:00:00:00:77" in line, line)


def shown(daemon):
    return daemon.ctl("ports")["ports"][0]["addresses"]


def daemon_of(rig, sender, name, **port):
    daemon = Daemon(rig, name, [{**sender.af_packet(2)[0], **port}], sinks=False)
    daemon.config["listeners"] = [{"name": "events", "udp_port": EVENTS},
                                  {"name": "acked", "udp_port": ACKED, "format": "sluice"}]
    return daemon


def refused(rig, sender, words, **port):
    daemon = daemon_of(rig, sender, "refused", **port)
    started = daemon.start()
    rig.expect(not started and words in daemon.log_tail(), f"refused at start: {words}")
    if started:
        daemon.stop()


with Rig(sys.argv[1], root=True) as rig:
    sender = Sender(rig, static=False)
    asker = Asker(rig, sender)
    sender.inside("ip", "addr", "add", SENDER4 + "/24", "dev", sender.theirs)
    with open(f"/sys/class/net/{sender.ours}/address", encoding="ascii") as f:
        mac = f.read().strip()
    addresses = ", ".join([*TARGET.values(), *(target for _, target in TAGGED.values())])
    daemon = daemon_of(rig, sender, "answers", addresses=addresses)
    set_mtu(sender, MTU)
    if rig.expect(daemon.start(), "sluiced runs"):
        rig.expect(shown(daemon) == addresses, "`ports` lists its addresses")
        count = resolved(rig, sender, asker, daemon, mac)
        at_mtu(rig, asker, daemon)
        set_mtu(sender, 1500)
        too_long(rig, asker, daemon)
        count = flood(rig, sender, asker, daemon, mac, count)
        acked(rig, sender, daemon, count)
        conflict(rig, sender, asker, daemon)
        rig.expect(daemon.wait_quiet(), "all is durable")
        daemon.expect_balanced("at the end")
        daemon.expect_no_kernel_drops()
        daemon.stop_well("with addresses")
    else:
        print(daemon.log_tail(), flush=True)
    sender.inside("ip", "neigh", "flush", "all")
    silent = daemon_of(rig, sender, "silent")
    if rig.expect(silent.start(), "sluiced runs without addresses"):
        rig.expect("none" in shown(silent), f"`ports` says so: {shown(silent)}")
        asker.send_events(TARGET[4], 3)
        rig.expect(silent.counter("events") == 0, "and nobody finds it")
        rig.expect(metric(silent, "neighbour_answered") == 0, "nor is answered")
        silent.stop_well("without addresses")
    subprocess.run(["ip", "addr", "add", TARGET[4] + "/32", "dev", sender.ours], check=True)
    both = daemon_of(rig, sender, "both", addresses=addresses)
    rig.expect(both.start() and f"ADDRESS CONFLICT: {TARGET[4]} of port" in both.log_tail(1 << 20),
               "an address that the kernel has as well is named")
    both.stop_well("with an address that the kernel has")
    refused(rig, sender, "a port with decap or promiscuous", addresses=TARGET[4], promiscuous=True)
    refused(rig, sender, "is no address of a host", addresses="224.0.0.1")
rig.done()
