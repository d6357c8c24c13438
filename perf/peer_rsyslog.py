#!/usr/bin/env python3
"""The same syslog datagrams to sluiced and to rsyslogd: messages a CPU-second.

    perf/peer_rsyslog.py BUILD_DIR [RATE] [SECONDS] [ROUNDS]      50,000 datagrams/s for 10 s, 3 rounds in turn

udp_blast in a network namespace sends messages of RFC 5424 of about 190 bytes through a veth pair. sluiced:
af_packet, format syslog, one worker, a durable journal (each block is on the disk before it counts), no sinks.
rsyslogd of the Debian package: imudp (batches of 128) into omfile, two ways: without a queue between, and with a
queue of its own, large batches and an asynchronous writer with a buffer of 1 MiB; the better one counts. It promises
nothing of the disk. CPU time is that of the process, user and system; what the kernel does on receipt (softirq) is
the same for both and in neither. A message counts when it is in the journal, or a line of the file. Needs root and
what ./run deps installs."""
import os
import shutil
import sys
import time

from receive import UDP_PORT, KernelEnd, blast, cpu_apart, datagrams_write, receiver
from netns import TARGET, Sender
from rig import Rig, skip, wait_until

CACHE = os.path.expanduser(os.environ.get("SLUICE_CACHE", "~/.cache/sluice"))
RSYSLOGD = shutil.which("rsyslogd", path=os.path.join(CACHE, "bin") + ":" + os.environ.get("PATH", ""))
MODULES = ["-M", os.path.join(CACHE, "rsyslog")] if RSYSLOGD and RSYSLOGD.startswith(CACHE) else []
CONFIG = """global(workDirectory="{dir}")
module(load="imudp" batchSize="128" timeRequery="8")
{queue}
ruleset(name="in" {ruleset}) {{
  action(type="omfile" file="{dir}/messages" template="RSYSLOG_SyslogProtocol23Format" {action})
}}
input(type="imudp" address="{address}" port="{port}" ruleset="in" rcvbufSize="16m")
"""
WAYS = {
    "direct": {"queue": "", "ruleset": "", "action": 'ioBufferSize="1m" flushOnTXEnd="off"'},
    "queue": {"queue": "", "ruleset": 'queue.type="FixedArray" queue.size="500000" queue.dequeueBatchSize="4096" '
                                      'queue.workerThreads="1"',
              "action": 'asyncWriting="on" ioBufferSize="1m" flushOnTXEnd="off" flushInterval="1"'},
}
TEXTS = 20000  # different messages

HOUR = time.strftime("%Y-%m-%dT%H", time.gmtime(time.time() - 3600))  # all of it is over


def message(i):
    return (f"<{128 + i % 48}>1 {HOUR}:{i // 60 % 60:02d}:{i % 60:02d}.{i % 1000:03d}Z host{i % 50}.example "
            f"app{i % 20} {1000 + i % 5000} ID{i % 47} - user u{i * 7919 % 1000000} opened /products/{i % 1000} from "
            f"192.0.2.{i % 250} in {i % 900} ms, session {i * 2654435761 % 2**32:08x}, all is well with it").encode()


def lines_of(path):
    with open(path, "rb") as f:
        return sum(piece.count(b"\n") for piece in iter(lambda: f.read(1 << 20), b""))


def report(name, sent, took, cpu):
    user, system = cpu
    print(f"{name:>16}: {took:>9,.0f} of {sent:>9,.0f} messages, user {user * 1e9 / took:6.0f} ns, system "
          f"{system * 1e9 / took:6.0f} ns a message: {took / (user + system) / 1e3:8,.0f} K a CPU-second",
          flush=True)
    return took / (user + system)


def listens(pid):
    with open(f"/proc/{pid}/net/udp", encoding="ascii") as f:
        return f":{UDP_PORT:04X} " in f.read()


def run_rsyslog(rig, sender, end, path, rate, seconds, way):
    home = rig.path(f"rsyslog-{way}-{time.monotonic_ns()}")
    os.mkdir(home)
    with open(home + "/conf", "w", encoding="ascii") as f:
        f.write(CONFIG.format(dir=home, address=TARGET[4], port=UDP_PORT, **WAYS[way]))
    child = rig.spawn([*end.run, RSYSLOGD, "-n", *MODULES, "-f", home + "/conf", "-i", home + "/pid"], "rsyslog.log",
                      {"TZ": "UTC"})
    try:
        wait_until(lambda: listens(child.pid), 20, "rsyslogd's socket")
        time.sleep(0.5)
        before = cpu_apart(child.pid)
        sent = blast(rig, sender, path, UDP_PORT, rate, rate * seconds)
        time.sleep(2.5)
        cpu = [b - a for a, b in zip(before, cpu_apart(child.pid))]
    finally:
        child.terminate()
        child.wait(30)
    took = lines_of(home + "/messages") if os.path.exists(home + "/messages") else 0
    shutil.rmtree(home)
    if not took:
        sys.exit("rsyslogd wrote nothing: " + rig.text("rsyslog.log", 2000))
    return report("rsyslog, " + way, sent["sent"], took, cpu)


def run_sluice(rig, sender, path, rate, seconds, daemon):
    before, journaled = cpu_apart(daemon.child.pid), daemon.counter("journaled")
    sent = blast(rig, sender, path, UDP_PORT, rate, rate * seconds)
    daemon.wait_quiet(20)
    cpu = [b - a for a, b in zip(before, cpu_apart(daemon.child.pid))]
    return report("sluice", sent["sent"], daemon.counter("journaled") - journaled, cpu)


def main():
    build = sys.argv[1] if len(sys.argv) > 1 else "build"
    rate, seconds, rounds = (int(v) for v in (sys.argv[2:] + ["50000", "10", "3"][len(sys.argv) - 2:])[:3])
    if not RSYSLOGD:
        skip("no rsyslogd: ./run deps")
    best = {}
    with Rig(build, root=True) as rig:
        sender = Sender(rig)
        path = rig.path("syslog.blast")
        datagrams_write(path, (message(i) for i in range(TEXTS)))
        for _ in range(rounds):
            daemon = receiver(rig, "peer", sender, {"format": "syslog"})
            if not daemon.start():
                sys.exit(daemon.log_tail())
            best["sluice"] = max(best.get("sluice", 0), run_sluice(rig, sender, path, rate, seconds, daemon))
            daemon.stop()
            with KernelEnd(rig, sender) as end:
                for way in WAYS:
                    best[way] = max(best.get(way, 0), run_rsyslog(rig, sender, end, path, rate, seconds, way))
    ratio = best["sluice"] / max(best[w] for w in WAYS)
    print(f"sluice {ratio:.2f} times rsyslog's messages a CPU-second, best of each")


main()
