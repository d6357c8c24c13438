"""`sluicectl support-bundle` of a running daemon that has taken events, refused some, and was given secrets in every
place that its configuration has for them. No sink answers.

Shown: the archive has its members, in a file for its owner only; each is what the daemon says; no byte of any member is
a secret, also where an error text or the log would show one, and none is of an event; a file that is there is left
alone; without a daemon it has the files and the machine."""
import json
import os
import struct
import subprocess
import sys
import tarfile

from daemon import Daemon, file_ports
from rig import Rig, wait_until

ALWAYS = {"data-dir.txt", "journal.json", "output-log.json", "checkpoints.json", "machine.txt", "manifest.json"}
DAEMON = {"config.yaml", "version.json", "status.json", "stats.json", "ledger.json", "sinks.json", "ports.json",
          "windows.json", "rules.json", "rules-stats.json", "metrics.txt", "log-tail.txt"}
SECRETS = {"option": "opt-S3cret\"quoted", "key": "pem-S3cret-key", "url": "hook-S3cret-path",
           "token": "token-S3cret-file", "header": "header-S3cret-file", "password": "password-S3cret-file"}
PAYLOAD = "unmistakable-p4yload"


def members(path):
    with tarfile.open(path, "r:gz") as tar:
        return {m.name.removeprefix("sluice-support/"): tar.extractfile(m).read() for m in tar.getmembers()}


def bundle(rig, name, *args):
    path = rig.path(name)
    done = subprocess.run([rig.program("sluicectl"), "--json", *args, "support-bundle", "-o", path], check=False,
                          capture_output=True, text=True, timeout=120)
    rig.expect(done.returncode == 0, f"{name} is made {done.stderr.strip()}")
    return path


def write(rig, name, text):
    with open(rig.path(name), "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as f:
        f.write(text)
    return rig.path(name)


def pcap_write(rig, path):
    """Events and a dead letter with the payload."""
    frames = []
    events = [json.dumps({"event_id": f"00000000-0000-4000-8000-{i:012}", "user_id": PAYLOAD, "page": "/" + PAYLOAD,
                          "ts": 1763700000000}) for i in range(50)]
    for i, text in enumerate([*events, f"{{broken {PAYLOAD}"]):
        body = text.encode()
        udp = struct.pack(">HHHH", 40000, 5140, 8 + len(body), 0) + body
        head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), i, 0, 64, 17, 0, b"\xc0\0\2\1", b"\xc0\0\2\2")
        total = sum(struct.unpack(">10H", head))
        total = (total & 0xffff) + (total >> 16)
        total = (total & 0xffff) + (total >> 16)
        frames.append(b"\2" * 12 + b"\x08\0" + head[:10] + struct.pack(">H", ~total & 0xffff) + head[12:] + udp)
    with open(path, "wb") as f:
        f.write(struct.pack("=IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for frame in frames:
            f.write(struct.pack("=IIII", 1763700000, 0, len(frame), len(frame)) + frame)


def check_clean(rig, name, found):
    for what, secret in SECRETS.items():
        for text in {secret, json.dumps(secret)[1:-1]}:
            where = [m for m, body in found.items() if text.encode() in body]
            rig.expect(not where, f"{name}: secret of {what} is in no member {where}")
    where = [m for m, body in found.items() if PAYLOAD.encode() in body]
    rig.expect(not where, f"{name}: nothing of an event is {where}")


with Rig(sys.argv[1]) as rig:
    pcap_write(rig, rig.path("in.pcap"))
    daemon = Daemon(rig, "support", file_ports(rig.path("in.pcap")), workers=1, sinks=False, time={"past_max": "0s"})
    daemon.config["kafka"] = {
        "enabled": True, "brokers": "127.0.0.1:1",
        "options": f"security.protocol=sasl_plaintext,sasl.mechanism=PLAIN,sasl.username=reader,"
                   f"sasl.password={SECRETS['option']},ssl.key.pem={SECRETS['key']}"}
    daemon.config["webhook"] = {
        "enabled": True, "url": f"http://127.0.0.1:1/{SECRETS['url']}?t={SECRETS['url']}",
        "token_file": write(rig, "token", SECRETS["token"]),
        "headers_file": write(rig, "headers", f"X-Secret: {SECRETS['header']}\n")}
    daemon.config["clickhouse"] = {"enabled": True, "url": "http://127.0.0.1:1",
                                   "password_file": write(rig, "password", SECRETS["password"])}
    rig.expect(daemon.start(), "sluiced runs")
    rig.expect(daemon.wait_input_ended() and wait_until(lambda: daemon.counter("events") == 51, 60, "events"),
               "it has taken events")
    rig.expect(daemon.wait_quiet(), "all of it is durable")
    # a log line that says a secret, as an error text of some library might
    with open(rig.path(daemon.log), "a", encoding="utf-8") as f:
        f.write(f"made up: cannot log in with {SECRETS['option']} at /{SECRETS['url']}?t={SECRETS['url']}\n")
    path = bundle(rig, "one.tar.gz", "--socket", daemon.socket)
    found = members(path)
    rig.expect(os.stat(path).st_mode & 0o777 == 0o600, "a file for its owner")
    rig.expect(ALWAYS | DAEMON <= set(found), f"all members: missing {sorted((ALWAYS | DAEMON) - set(found))}")
    check_clean(rig, "running", found)
    config = found["config.yaml"].decode()
    rig.expect("sasl.username=reader" in config and "sasl.password=[removed]" in config and
               "ssl.key.pem=[removed]" in config and "http://127.0.0.1:1/[removed]" in config,
               "the configuration has all but what is secret")
    rig.expect(json.loads(found["ledger.json"])["balanced"] is True, "the ledger")
    events = json.loads(found["status.json"])["events"]["events"]
    rig.expect(events == 51, f"status: {events} events")
    rig.expect(b"sluice_worker_frames_total" in found["metrics.txt"], "metrics")
    rig.expect(b"running: node=support" in found["log-tail.txt"] and b"made up: cannot log in with [removed]"
               in found["log-tail.txt"], "the log")
    journal = json.loads(found["journal.json"])
    rig.expect(journal["partitions"] == 4 and len(journal["segments"]) == 4 and
               any(s["any"] for p in journal["segments"] for s in p), "headers of segments")
    listing = found["data-dir.txt"].decode()
    rig.expect("journal/p0/seg-" in listing and "journal/journal.meta" in listing, "names of files")
    machine = found["machine.txt"].decode()
    rig.expect("== kernel\nLinux" in machine and "model name" in machine and "HugePages_Total" in machine,
               "the machine")
    rig.expect(json.loads(found["manifest.json"])["daemon_answered"] is True, "the manifest")
    with open(path, "rb") as f:
        before = f.read()
    done = subprocess.run([rig.program("sluicectl"), "--socket", daemon.socket, "support-bundle", "-o", path],
                          capture_output=True, text=True, check=False)
    with open(path, "rb") as f:
        rig.expect(done.returncode == 1 and "exists" in done.stderr and f.read() == before, "a file is left alone")
    again = bundle(rig, "two.tar.gz", "--socket", daemon.socket)
    rig.expect(set(members(again)) == set(found), "the same names again")
    daemon.kill()
    done = subprocess.run([rig.program("sluicectl"), "--socket", daemon.socket, "--json", "support-bundle", "-o",
                           rig.path("off.tar.gz"), "--dir", daemon.data], capture_output=True, text=True, check=False)
    found = members(rig.path("off.tar.gz")) if done.returncode == 0 else {}
    rig.expect(ALWAYS <= set(found) and "config.yaml" in json.loads(found["manifest.json"])["missing"],
               f"without a daemon: {sorted(found)} {done.stderr}")
    check_clean(rig, "killed", found)
rig.done()
