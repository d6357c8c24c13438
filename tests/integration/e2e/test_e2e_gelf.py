"""Public client libraries of GELF (PyPI: graypy, pygelf) send messages of many chunks from a network namespace, plain
and compressed; then chunks that never become whole. And a listener with a rate is flooded. No sink.

Shown: each message is one event as it was sent; chunks without a message are dropped under their names, those under way
at the end, too; of a flood no more is taken than burst and rate allow, while the listener beside it loses nothing; the
drops are those of their listener, in `stats` and in metrics; the ledger balances at every time."""
import json
import os
import subprocess
import sys
import time

import gelf_senders
from daemon import Daemon, now_ms
from netns import TARGET, Sender
from rig import Rig, skip, wait_until

LIBRARIES = os.environ.get("SLUICE_SENDERS", os.path.expanduser("~/.cache/sluice/senders"))
PROGRAM = os.path.abspath(gelf_senders.__file__)
GELF, LIMITED, FREE = 12201, 9001, 9002
FLOOD, RATE, BURST = 3000, 20, 50


def plain_send(sender, port, payloads):
    """Datagrams from inside the namespace, from one socket."""
    code = ("import json, socket, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "for p in json.load(sys.stdin): s.sendto(bytes.fromhex(p), (sys.argv[1], int(sys.argv[2])))")
    subprocess.run([*sender.run, sys.executable, "-c", code, TARGET[4], str(port)], check=True, timeout=60,
                   input=json.dumps([p.hex() for p in payloads]), text=True)


def listener_drops(daemon, listener):
    rows = daemon.ctl("stats")["listener_drops"]
    return {r["reason"]: r["dropped"] for r in rows if r["listener"] == listener and r["dropped"]}


def listener_counter(daemon, listener, name):
    return next(r for r in daemon.ctl("stats")["listeners"] if r["listener"] == listener)[name]


def chunks_lost(rig, daemon, sender):
    def chunk(ident, index, count, piece):
        return b"\x1e\x0f" + ident + bytes([index, count]) + piece

    sent = time.monotonic()
    plain_send(sender, GELF, [
        chunk(b"lonely__", 0, 2, b'{"short_message":"'), chunk(b"lonely__", 0, 2, b'{"short_message":"'),
        chunk(b"toolarge", 0, 127, b"x" * 1400), b"\x1e\x0fcut", chunk(b"zeroes__", 0, 0, b"x"),
        *[chunk(b"toolarge", i, 127, b"x" * 1400) for i in range(1, 60)]])
    want = {"chunk_duplicate": 1, "bad_chunk": 2, "chunk_too_long": 60}
    # the one that waits may have waited for too long already
    rig.expect(wait_until(lambda: dict(listener_drops(daemon, "gelf"), chunk_timeout=0) == dict(want, chunk_timeout=0),
                          60, "chunks"),
               f"chunks under their names: {listener_drops(daemon, 'gelf')}")
    daemon.expect_balanced("while a chunk waits")
    rig.expect("chunk_timeout" not in listener_drops(daemon, "gelf") or time.monotonic() - sent > 5, "for 5 s")
    want["chunk_timeout"] = 1
    rig.expect(wait_until(lambda: listener_drops(daemon, "gelf") == want, 60, "chunk_timeout"),
               f"and one that was alone for too long: {listener_drops(daemon, 'gelf')}")


def flood(rig, daemon, sender):
    payload = [b'{"type":"log","source":"s","message":"m","ts":%d}' % now_ms()] * FLOOD
    start = time.monotonic()
    plain_send(sender, LIMITED, payload)
    plain_send(sender, FREE, payload)
    rig.expect(wait_until(lambda: listener_counter(daemon, "free", "accepted") == FLOOD, 90, "the other listener"),
               "the listener without a rate took all")
    # its datagrams may lie in the other queue
    wait_until(lambda: listener_counter(daemon, "limited", "accepted") +
               listener_drops(daemon, "limited").get("rate_limited", 0) == FLOOD, 60, "the listener with a rate")
    seconds = time.monotonic() - start
    taken, drops = listener_counter(daemon, "limited", "accepted"), listener_drops(daemon, "limited")
    # What the machine let wait between two datagrams can only have let more through.
    rig.expect(BURST <= taken <= BURST + RATE * seconds + 1 and drops == {"rate_limited": FLOOD - taken},
               f"{taken} taken of {FLOOD} in {seconds:.2f} s: {drops}")
    rig.expect(listener_drops(daemon, "free") == {}, "and nothing of the other's was dropped")
    text = daemon.ctl("metrics")["text"]
    line = f'sluice_listener_drops_total{{listener="limited",reason="rate_limited",unit="datagram"}} {FLOOD - taken}\n'
    rig.expect(line in text, "the metrics say so")


if not os.path.isdir(os.path.join(LIBRARIES, "graypy")):
    skip(f"no client libraries of GELF in {LIBRARIES}: ./run deps")
with Rig(sys.argv[1], root=True) as rig:
    sender = Sender(rig)
    daemon = Daemon(rig, "gelf", sender.af_packet(), sinks=False)
    daemon.config["listeners"] = [
        {"name": "gelf", "udp_port": GELF, "format": "gelf"},
        {"name": "limited", "udp_port": LIMITED, "format": "json", "rate": RATE, "burst": BURST, "priority": "low"},
        {"name": "free", "udp_port": FREE, "format": "json", "priority": "high"}]
    rig.expect(daemon.start(), "sluiced runs")
    done = subprocess.run([*sender.run, sys.executable, PROGRAM, TARGET[4], str(GELF)],
                          env=dict(os.environ, PYTHONPATH=LIBRARIES), capture_output=True, text=True, timeout=60,
                          check=False)
    rig.expect(done.returncode == 0 and not done.stderr, f"all is sent {done.stderr[-500:]}")
    want = {name: text for _, _, name, text in gelf_senders.messages()}
    rig.expect(wait_until(lambda: daemon.counter("events") == len(want), 90, "messages"), "and has arrived")
    rig.expect(listener_counter(daemon, "gelf", "datagrams") > 300, "in many datagrams")
    chunks_lost(rig, daemon, sender)
    flood(rig, daemon, sender)
    plain_send(sender, GELF, [b"\x1e\x0fthe_last\x00\x05x"])
    rig.expect(wait_until(lambda: daemon.wait_quiet(), 60, "quiet"), "all is durable")
    daemon.expect_no_kernel_drops()
    daemon.expect_balanced("at the end")
    daemon.stop_well("at the end")
    out = subprocess.run([rig.program("sluicectl"), "--json", "journal", "dump", "--dir", daemon.data + "/journal"],
                         capture_output=True, text=True, timeout=60, check=True).stdout
    records = [r for r in map(json.loads, out.splitlines()) if r["kind"] in ("event", "refused")]
    events = [json.loads(r["payload"]) for r in records if r["udp_port"] == GELF]
    have = {e["message"]: e["attributes"]["blob"] for e in events}
    rig.expect(len(events) == len(want) and have == want, f"{len(events)} events with what was sent: "
               f"{sorted(have.keys() ^ want.keys())} {[n for n in have if have[n] != want.get(n)]}")
    sources = {(e["source"], e["level"]) for e in events if e["message"].startswith("graypy")}
    rig.expect(sources == {("till", "warning")}, f"and who said it: {sources}")
rig.done()
