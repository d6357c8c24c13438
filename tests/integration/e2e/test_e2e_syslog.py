"""Real senders of syslog, and GELF: rsyslogd in a network namespace forwards by UDP, IPv4 and IPv6, with its template
of RFC 5424, its traditional one and its own forward format; logger of util-linux sends both RFCs' forms. GELF plain, in
zlib's format and in gzip's. Without sinks.

Shown: every message that was written to rsyslog's socket is one event of the journal, with the fields that its sender
gave it; the ledger's equations balance; a datagram that is not syslog is a dead letter with its own bytes."""
import collections
import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import zlib

from daemon import Daemon, now_ms
from netns import TARGET, Sender
from rig import Rig, skip, wait_until

COUNT = 400  # messages for each template and family
PORTS = {"RSYSLOG_SyslogProtocol23Format": 5514, "RSYSLOG_TraditionalForwardFormat": 5515,
         "RSYSLOG_ForwardFormat": 5516}
LOGGER_PORT, GELF_PORT = 5517, 12201
LEVELS = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")
LOCAL0, HOST = 16, "gate.example"
SENT = int(time.time())  # the time in all messages to rsyslog
CACHE = os.path.expanduser(os.environ.get("SLUICE_CACHE", "~/.cache/sluice"))
RSYSLOGD = shutil.which("rsyslogd", path=os.path.join(CACHE, "bin") + ":" + os.environ.get("PATH", ""))
MODULES = ["-M", os.path.join(CACHE, "rsyslog")] if RSYSLOGD and RSYSLOGD.startswith(CACHE) else []
RSYSLOG = """global(workDirectory="{dir}" localHostname="{host}" preserveFQDN="on")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{dir}/log" useSysTimeStamp="off" ignoreTimestamp="off" rateLimit.Interval="0")
"""
ACTION = """action(type="omfwd" protocol="udp" target="{target}" port="{port}" template="{template}")
"""


def rsyslog_start(rig, sender):
    """With everything of its own: the machine's is not touched."""
    home = rig.path("rsyslog")
    os.mkdir(home)
    config = RSYSLOG.format(dir=home, host=HOST)
    for template, port in PORTS.items():
        for family in (4, 6):
            config += ACTION.format(target=TARGET[family], port=port, template=template)
    with open(home + "/rsyslog.conf", "w", encoding="ascii") as f:
        f.write(config)
    rig.spawn([*sender.run, RSYSLOGD, "-n", *MODULES, "-f", home + "/rsyslog.conf", "-i", home + "/pid"], "rsyslog.log",
              {"TZ": "UTC"})
    rig.expect(wait_until(lambda: os.path.exists(home + "/log"), 90, "rsyslog's socket"), "rsyslogd runs")
    return home + "/log"


def text_of(i):
    """Plain, beyond ASCII, a JSON object."""
    return (f"message {i} says \"so\" \\ and so", f"m\u00e4ssage {i} \u20ac",
            json.dumps({"number": i, "host": "inside"}))[i % 3]


def messages_send(path):
    when = time.strftime("%b %e %H:%M:%S", time.gmtime(SENT))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(path)
        for i in range(COUNT):
            s.send(f"<{LOCAL0 * 8 + i % 8}>{when} app{i % 3}[{100 + i}]: {text_of(i)}".encode())


def loggers_send(sender):
    """What logger sends, each once by each family: the arguments, and what the event must have."""
    cases = [
        (["--rfc5424", "-p", "mail.err", "-t", "post", "--id=77", "--msgid", "M1", "--sd-id", "zoo@32473", "--sd-param",
          'tiger="hungry"', "--sd-param", 'zebra="a b"', "five"],
         {"source": "post", "level": "error", "message": "five"},
         {"facility": "mail", "procid": "77", "msgid": "M1", "zoo@32473": {"tiger": "hungry", "zebra": "a b"}}),
        (["--rfc3164", "-p", "daemon.info", "-t", "old", "--id=78", "three"],
         {"source": "old", "level": "info", "message": "three"}, {"facility": "daemon", "procid": "78"}),
        (["--rfc5424=notime,notq,nohost", "-p", "user.alert", "-t", "bare", "none"],
         {"source": "bare", "level": "alert", "message": "none"}, {"facility": "user"}),
    ]
    for family in (4, 6):
        for arguments, _, _ in cases:
            sender.inside("logger", "--udp", "--server", TARGET[family], "--port", str(LOGGER_PORT), *arguments)
    return cases


def plain_send(sender, family, port, payloads):
    """Datagrams from inside the namespace."""
    code = ("import socket, sys\ns = socket.socket(socket.AF_INET6 if sys.argv[1] == '6' else socket.AF_INET,"
            " socket.SOCK_DGRAM)\nfor p in sys.argv[4:]: s.sendto(bytes.fromhex(p), (sys.argv[2], int(sys.argv[3])))")
    sender.inside("python3", "-c", code, str(family), TARGET[family], str(port), *[p.hex() for p in payloads])


def gelf_send(sender):
    """One message each in a datagram, plain, zlib, gzip; a chunk that is alone, and a datagram that is none."""
    payloads = [json.dumps({"version": "1.1", "host": "h", "short_message": f"gelf {i}", "level": 3, "_app": "till",
                            "timestamp": 1763634030.25 + i / 1000, "_n": i}).encode() for i in range(6)]
    packed = [(bytes, zlib.compress, gzip.compress)[i % 3](p) for i, p in enumerate(payloads)]
    plain_send(sender, 4, GELF_PORT, packed[:3])
    plain_send(sender, 6, GELF_PORT, [*packed[3:], b"\x1e\x0f12345678\x00\x02{", packed[1][:-3]])


def journal(rig, daemon):
    dump = subprocess.run([rig.program("sluicectl"), "--json", "journal", "dump", "--dir", daemon.data + "/journal"],
                          capture_output=True, text=True, check=True, timeout=120)
    return [r for r in map(json.loads, dump.stdout.splitlines()) if r["kind"] in ("event", "refused")]


def rsyslog_event(i, record):
    """Whether a record is what message i must become, as far as every template carries it."""
    event = json.loads(record["payload"])
    attributes = event.pop("attributes")
    ts = event.pop("ts")
    want = {"type": "log", "source": f"app{i % 3}", "level": LEVELS[i % 8], "message": text_of(i)}
    inside = {"number": i, "_host": "inside"} if i % 3 == 2 else {}
    fixed = {"facility": "local0", "host": HOST, "procid": str(100 + i), **inside}
    return event == want and attributes == fixed and ts == record["event_time_ms"] == SENT * 1000


def check_rsyslog(rig, records):
    for template, port in PORTS.items():
        seen, wrong = collections.Counter(), []
        for record in records:
            if record["udp_port"] != port or record["kind"] != "event":
                continue
            i = int(json.loads(record["payload"])["attributes"]["procid"]) - 100
            seen[i, ":" in record["source"].replace("::ffff:", "")] += 1
            if not rsyslog_event(i, record):
                wrong.append(record["payload"])
        once = len(seen) == 2 * COUNT and set(seen.values()) == {1}
        rig.expect(once, f"{template}: {sum(seen.values())} events, each of {COUNT} messages once by IPv4 and by IPv6")
        rig.expect(not wrong, f"{template}: fields are what was sent {wrong[:2] or ''}")


def check_loggers(rig, records, cases):
    events = [json.loads(r["payload"]) for r in records if r["udp_port"] == LOGGER_PORT and r["kind"] == "event"]
    for arguments, fields, attributes in cases:
        found = [e for e in events if fields.items() <= e.items() and attributes.items() <= e["attributes"].items() and
                 abs(e["ts"] - now_ms()) < 600000]
        rig.expect(len(found) == 2, f"logger {arguments[0]}: {found[:1] or events}")


def check_gelf(rig, records):
    events = [json.loads(r["payload"]) for r in records if r["udp_port"] == GELF_PORT and r["kind"] == "event"]
    want = [{"type": "log", "source": "till", "ts": 1763634030250 + i, "level": "error", "message": f"gelf {i}",
             "attributes": {"host": "h", "app": "till", "n": i}} for i in range(6)]
    rig.expect(sorted(events, key=lambda e: e["ts"]) == want, f"gelf: plain, zlib and gzip {events[:1]}")


with Rig(sys.argv[1], root=True) as rig:
    if not RSYSLOGD:
        skip("no rsyslogd: ./run deps")
    sender = Sender(rig)
    daemon = Daemon(rig, "syslog", sender.af_packet(2), sinks=False, time={"past_max": "0s"})
    daemon.config["listeners"] = [{"name": f"s{port}", "udp_port": port, "format": "syslog"}
                                  for port in (*PORTS.values(), LOGGER_PORT)]
    daemon.config["listeners"].append({"name": "gelf", "udp_port": GELF_PORT, "format": "gelf"})
    rig.expect(daemon.start(), "sluiced runs")
    messages_send(rsyslog_start(rig, sender))
    logger_cases = loggers_send(sender)
    plain_send(sender, 4, LOGGER_PORT, [b"no priority", b"<34>1 - h a - - [broken", b"<999>x\xff"])
    gelf_send(sender)
    expected = 2 * COUNT * len(PORTS) + 2 * len(logger_cases) + 3 + 7
    rig.expect(wait_until(lambda: daemon.counter("events") >= expected, 120, f"{expected} events"), "all has arrived")
    rig.expect(daemon.wait_quiet(), "all is durable")
    daemon.expect_no_kernel_drops()
    counted = (daemon.ctl("status") or {}).get("events") or {}
    rig.expect(counted.get("events") == expected and counted.get("accepted") == expected - 4, f"counters: {counted}")
    rig.expect(daemon.drops().get("bad_format") == 4, f"refused under its name: {daemon.drops()}")
    daemon.expect_balanced("before the end", ("not connected yet",))
    daemon.stop_well("syslog")
    everything = journal(rig, daemon)
    check_rsyslog(rig, everything)
    check_loggers(rig, everything, logger_cases)
    check_gelf(rig, everything)
    dead = sorted(r.get("payload", r.get("payload_hex")) for r in everything
                  if r["kind"] == "refused" and r["udp_port"] == LOGGER_PORT)
    rig.expect(dead == sorted(["no priority", "<34>1 - h a - - [broken", b"<999>x\xff".hex()]),
               f"dead letters have the datagrams' bytes: {dead}")
rig.done()
