"""`sluicectl capture` of real traffic through a veth pair: the pcap file has the datagrams that were sent, by listener,
by source and by drop; it is for its owner only; a second capture, an existing file, wrong names and a reader without
the right to write are refused; a client that is killed leaves no capture behind; and the daemon counts what it counts
without. The file is read by our own eyes, and by tcpdump where there is one."""
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time

from daemon import Daemon, now_ms
from netns import SENDER, TARGET, Sender
from rig import Rig, wait_until

A, B, NONE = 9001, 9002, 9009


def plain_send(sender, port, payloads, family=4):
    code = ("import json, socket, sys\ns = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, "
            "socket.SOCK_DGRAM)\nfor p in json.load(sys.stdin): s.sendto(p.encode(), (sys.argv[1], int(sys.argv[2])))")
    subprocess.run([*sender.run, sys.executable, "-c", code, TARGET[family], str(port)], check=True, timeout=60,
                   input=json.dumps(payloads), text=True)


def pcap_read(path):
    """(time, source, UDP port, payload) of each frame; Ethernet, IPv4 or IPv6, UDP."""
    with open(path, "rb") as f:
        data = f.read()
    magic, major, minor, _, _, longest, link = struct.unpack_from("=IHHiIII", data)
    assert (magic, major, minor, longest, link) == (0xa1b23c4d, 2, 4, 65535, 1), "the file's head"
    at, out = 24, []
    while at < len(data):
        seconds, nanoseconds, kept, length = struct.unpack_from("=IIII", data, at)
        frame = data[at + 16:at + 16 + kept]
        assert len(frame) == kept == length and nanoseconds < 10**9, "a whole frame"
        at += 16 + kept
        ip4 = frame[12:14] == b"\x08\x00"
        source = ".".join(map(str, frame[26:30])) if ip4 else "v6"
        udp = 34 if ip4 else 54
        port, size = struct.unpack_from(">HH", frame, udp + 2)
        out.append((seconds + nanoseconds / 1e9, source, port, frame[udp + 8:udp + size].decode()))
    return out


def capture(rig, daemon, name, *args, prefix=()):
    path = rig.path(name)
    child = subprocess.Popen([*prefix, rig.program("sluicectl"), "--socket", daemon.socket, "--json", "capture", "veth",
                              "-o", path, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    started = child.stderr.readline()
    rig.expect("capturing" in started, f"{name}: {started.strip()}")
    return path, child


def finish(rig, child, sig=None):
    if sig:
        child.send_signal(sig)
    out, err = child.communicate(timeout=60)
    rig.expect(child.returncode == 0, f"the capture ends well {err[-300:]}")
    return json.loads(out) if child.returncode == 0 else {}


def refusals(rig, daemon, sender):
    existing = rig.path("there.pcap")
    with open(existing, "w", encoding="ascii") as f:
        f.write("mine")
    rig.expect("exists" in daemon.ctl_fails("capture", "veth", "-o", existing) and rig.text("there.pcap") == "mine",
               "a file that is there is left alone")
    for args, says in ((("nic7",), "no port 'nic7'"), (("veth", "--listener", "x"), "no listener 'x'"),
                       (("veth", "--drop", "x"), "--drop: 'x'"), (("veth", "--source", "1.2.3"), "1.2.3"),
                       (("veth", "--seconds", "0"), "seconds")):
        said = daemon.ctl_fails("capture", *args, "-o", rig.path("refused.pcap"))
        rig.expect(says in said and not os.path.exists(rig.path("refused.pcap")), f"{args}: {said.strip()}")
    _, child = capture(rig, daemon, "first.pcap", "--seconds", "60")
    said = daemon.ctl_fails("capture", "veth", "-o", rig.path("second.pcap"))
    rig.expect("another capture" in said, f"one at a time: {said.strip()}")
    child.kill()
    child.communicate()

    def again():
        return daemon.ctl("capture", "veth", "-o", rig.path("again.pcap"), "--seconds", "1") is not None

    rig.expect(wait_until(again, 90, "the capture of a killed client has ended"), "a killed client leaves none behind")
    # who may read may not capture
    os.chmod(rig.dir, 0o755)
    code = ("import grp, json, os, socket, sys\nos.setgroups([]); os.setgid(grp.getgrnam('nogroup').gr_gid); "
            "os.setuid(65534)\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
            "s.sendall(json.dumps({'v': 1, 'cmd': sys.argv[2]}).encode() + b'\\n')\nprint(s.recv(65536).decode())")
    for what, says in (("version", '"ok":true'), ("tap open", "forbidden"), ("tap read", "forbidden")):
        said = subprocess.run([sys.executable, "-c", code, daemon.socket, what], capture_output=True, text=True,
                              check=False)
        rig.expect(says in said.stdout, f"{what} by a reader: {said.stdout[:120].strip()}{said.stderr[-200:]}")


with Rig(sys.argv[1], root=True) as rig:
    sender = Sender(rig)
    daemon = Daemon(rig, "capture", sender.af_packet(), sinks=False, control={"group": "nogroup"})
    daemon.config["listeners"] = [{"name": "a", "udp_port": A, "format": "json"},
                                  {"name": "b", "udp_port": B, "format": "json", "allow": SENDER[6]}]
    rig.expect(daemon.start(), "sluiced runs")
    good = [json.dumps({"type": "log", "source": "s", "message": f"m{i}", "ts": now_ms()}) for i in range(200)]
    bad = [f"{{broken {i}" for i in range(20)]

    # all of a listener, until interrupted
    path, child = capture(rig, daemon, "a.pcap", "--listener", "a", "--seconds", "60")
    before = time.time()
    plain_send(sender, A, good + bad)
    plain_send(sender, A, ["by six"], family=6)
    plain_send(sender, B, ["denied"] * 5)
    plain_send(sender, NONE, ["nobody"] * 5)
    rig.expect(wait_until(lambda: daemon.drops().get("no_listener") == 5 and daemon.counter("events") == 221, 60,
                          "the last ones of each queue"), "all has arrived")
    counts = finish(rig, child, signal.SIGINT)
    frames = pcap_read(path)
    of_four = [f[3] for f in frames if f[1] == SENDER[4]]
    rig.expect(of_four == good + bad and ("v6", A, "by six") in [f[1:] for f in frames] and len(frames) == 221,
               f"{len(frames)} frames, each datagram to the listener as it was sent")
    rig.expect(all(before - 1 < f[0] < time.time() + 1 for f in frames), "with the times of this test")
    rig.expect(counts == {"matched": 221, "not_copied": 0, "frames": 221, "bytes": os.path.getsize(path)},
               f"and the counts say so: {counts}")
    rig.expect(os.stat(path).st_mode & 0o777 == 0o600, "a file for its owner")

    # by drop, source and count
    for name, args, send, want in (
            ("drop.pcap", ["--drop", "bad_json", "--count", "20"], (A, good[:50] + bad + good[50:]), bad),
            # of this source: the sender's kernel says a word of its own now and then, by IPv6
            ("any.pcap", ["--drop", "any", "--source", SENDER[4] + "/32", "--count", "3"], (NONE, ["x", "y", "z"]),
             ["x", "y", "z"]),
            ("denied.pcap", ["--drop", "source_denied", "--count", "1"], (B, ["no", "no"]), ["no"]),
            ("source.pcap", ["--source", SENDER[4] + "/32", "--count", "7"], (A, good), good[:7]),
            ("bytes.pcap", ["--bytes", "1000", "--listener", "a"], (A, good), None)):
        path, child = capture(rig, daemon, name, "--seconds", "30", *args)
        plain_send(sender, *send)
        finish(rig, child)
        have = [f[3] for f in pcap_read(path)]
        rig.expect(have == want if want else 0 < len(have) < 10 and os.path.getsize(path) <= 1000 and
                   have == good[:len(have)], f"{' '.join(args)}: {len(have)} frames {have if have != want else ''}")
    path, child = capture(rig, daemon, "none.pcap", "--source", "203.0.113.7", "--seconds", "1")
    plain_send(sender, A, good)
    rig.expect(finish(rig, child)["matched"] == 0 and not pcap_read(path), "of a source that is silent, nothing")
    if shutil.which("tcpdump"):
        seen = subprocess.run(["tcpdump", "-nn", "-r", rig.path("a.pcap")], capture_output=True, text=True, check=False)
        rig.expect(seen.returncode == 0 and seen.stdout.count(f".{A}: UDP") == 221,
                   f"tcpdump reads it {seen.stderr[-200:]}")
    refusals(rig, daemon, sender)
    rig.expect(daemon.wait_quiet(), "all is durable")
    daemon.expect_no_kernel_drops()
    daemon.expect_balanced("at the end")
    daemon.stop_well("at the end")
rig.done()
