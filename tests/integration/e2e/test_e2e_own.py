"""One's own events, as docs/operations.md says: its commands are run as they stand there (with a folder of the test's;
the questions until they are answered), and what they show is what is in the file. Then a file with lines of all kinds:
each is an event, a duplicate, or refused with its reason; lines that come through a pipe are sent as they come, by UDP
and into a file; a line that no datagram holds ends it; and a wrong name destroys no file."""
import json
import os
import re
import socket
import subprocess
import sys
import uuid

from daemon import Daemon, file_ports
from rig import SOURCE, Rig, wait_until

LINES = 4000


def documented():
    """The commands of the section; here documents belong to the command before."""
    with open(os.path.join(SOURCE, "docs", "operations.md"), encoding="utf-8") as f:
        section = f.read().split("## Try a configuration without a NIC\n")[1]
    block = re.search(r"(?m)(^    .*\n)+", section).group(0)
    return re.findall(r"(?m)^.*<<'X'\n(?:.*\n)*?X$|^.+$", re.sub(r"(?m)^    ", "", block))


def ctl(rig, command):
    """A documented sluicectl command, its answer as JSON."""
    words = command.split()[1:]
    done = subprocess.run([rig.program("sluicectl"), "--json", *words], capture_output=True, text=True, timeout=60,
                          check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def by_the_docs(rig):
    commands = [c.replace("/tmp/", rig.dir + "/docs/") for c in documented()]
    os.mkdir(rig.path("docs"))
    for c in commands:
        if c.startswith("sluiced "):
            words = c.rstrip("& ").split()
            child = rig.spawn([rig.program("sluiced"), *words[1:]], "docs.log")
        elif c.startswith("sluice-gen "):
            subprocess.run([rig.program("gen"), *c.split()[1:]], check=True, timeout=60)
        elif not c.startswith("sluicectl "):
            subprocess.run(["bash", "-c", c], check=True, timeout=60)
    status, rows, stop = [c for c in commands if c.startswith("sluicectl ")]
    wait_until(lambda: ((ctl(rig, status) or {}).get("events") or {}).get("journaled") == 4, 60, "four events")
    got = []

    def there():
        got[:] = [r for r in (ctl(rig, rows) or {}).get("rows") or [] if r["start_ms"] == 1764590400000]
        return len(got) == 2

    rig.expect(wait_until(there, 60, "two rows"), "the windows of the first minute")
    rig.expect([(r["attributes.plan"], r["count"], r["sum_value"]) for r in got] == [("free", 1, 1), ("team", 2, 7)],
               f"are those of the file: {got}")
    ctl(rig, stop)
    rig.expect(child.wait(60) == 0, "it ends, exit code 0")


def made_file(rig, path):
    """Returns (accepted, duplicates, refused)."""
    counts, ids = [0, 0, 0], []
    with open(path, "w", encoding="utf-8", newline="") as f:
        for i in range(LINES):
            kind = rig.random.choice(("good", "good", "good", "twice", "bad"))
            if kind == "twice" and ids:
                f.write(rig.random.choice(ids) + "\r\n")
                counts[1] += 1
            elif kind == "bad":
                f.write("{no event\n\n")
                counts[2] += 1
            else:
                line = json.dumps({"type": "custom", "name": "n" * rig.random.randrange(1, 60), "user_id": f"u{i % 9}",
                                   "event_id": str(uuid.UUID(int=rig.random.getrandbits(128), version=4)),
                                   "ts": 1764590400000 + i})
                ids.append(line)
                f.write(line + "\n")
                counts[0] += 1
    return counts


def of_all_kinds(rig):
    accepted, twice, refused = made_file(rig, rig.path("own.ndjson"))
    done = subprocess.run([rig.program("gen"), "--lines", rig.path("own.ndjson"), "--pcap", rig.path("own.pcap"),
                           "--events-per-datagram", "7"], capture_output=True, text=True, timeout=60, check=True)
    rig.expect(f"events={LINES} datagrams=" in done.stdout, f"each line is sent: {done.stdout.strip()}")
    daemon = Daemon(rig, "own", file_ports(rig.path("own.pcap")), workers=1, sinks=False, time={"past_max": "0ms"})
    daemon.config["listeners"][0]["format"] = "ndjson"
    if not rig.expect(daemon.start() and daemon.wait_input_ended(), "sluiced takes them"):
        print(daemon.log_tail())
        return
    daemon.wait_quiet()
    events, drops = daemon.ctl("status")["events"], daemon.drops()
    rig.expect(events["accepted"] - drops.get("duplicate", 0) == accepted and drops.get("duplicate", 0) == twice and
               events["refused"] == drops.get("bad_json") == refused,
               f"{accepted} events, {twice} duplicates, {refused} refused: {events} {drops}")
    daemon.expect_balanced("one's own events")
    daemon.stop_well("own")


def by_a_pipe_to_a_file(rig):
    with subprocess.Popen([rig.program("gen"), "--lines", "-", "--file", "-"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as child:
        child.stdin.write(b"one\n")
        child.stdin.flush()
        rig.expect(child.stdout.readline() == b"one\n", "a line is written while more may come")


def by_a_pipe(rig):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as box:
        box.bind(("127.0.0.1", 0))
        box.settimeout(30)
        with subprocess.Popen([rig.program("gen"), "--lines", "-", "--udp", f"127.0.0.1:{box.getsockname()[1]}"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            for text in (b"one", b"two"):
                child.stdin.write(text + b"\n")
                child.stdin.flush()
                rig.expect(box.recv(9000) == text, f"{text} goes out while more may come")
            child.stdin.write(b"three\n" + b"x" * 1473 + b"\nfour\n")
            _, err = child.communicate(timeout=30)
        rig.expect(box.recv(9000) == b"three", "what comes before a line that is too long goes out")
        rig.expect(child.returncode == 1 and b"line 4 is longer than a datagram's 1472 bytes" in err,
                   f"which is named: {err}")
        box.settimeout(0.2)
        try:
            rig.expect(False, f"nothing comes behind it: {box.recv(9000)[:20]}")
        except TimeoutError:
            pass


def wrong_names(rig):
    """What is there stays there."""
    with open(rig.path("kept"), "w", encoding="utf-8") as f:
        f.write("a\nb\n")
    for lines, out, why in (("kept", "kept", "would be overwritten"), ("missing", "kept", "No such file")):
        for option in ("--file", "--pcap", "--clock"):
            more = ["--udp", "127.0.0.1:9"] if option == "--clock" else []
            done = subprocess.run([rig.program("gen"), "--lines", rig.path(lines), option, rig.path(out), *more],
                                  capture_output=True, text=True, timeout=60, check=False)
            rig.expect(done.returncode == 1 and why in done.stderr and rig.text("kept") == "a\nb\n",
                       f"{option} {out} of {lines}: {done.stderr.strip()}")


with Rig(sys.argv[1]) as rig:
    by_the_docs(rig)
    of_all_kinds(rig)
    by_a_pipe(rig)
    by_a_pipe_to_a_file(rig)
    wrong_names(rig)
rig.done()
