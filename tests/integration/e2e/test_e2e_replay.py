"""`sluicectl replay` over a journal whose segments were used again, with the note that named the definitions; a capture
file, no sink but the state stage, two partitions of three segments.

Shown: while the journal is whole replay says nothing of its beginning. Once it is gone every event that is kept is
replayed, under the definitions of a checkpoint, and it says so; without checkpoints it fails and says why; with a
configuration it needs neither; nothing is passed over unsaid. Merged rows that state.memory was too small to keep for
revisions: replay without a configuration gives what it gives with the daemon's, and another memory gives others."""
import json
import os
import shutil
import subprocess
import sys

from daemon import Daemon, file_ports
from rig import Rig

EVENTS = 200000
WINDOW = {"name": "pages", "kind": "tumbling", "size": "5s", "by": "page", "aggregates": "count"}
USERS = {"name": "users", "kind": "tumbling", "size": "1s", "by": "user_id", "lateness": "1h",
         "aggregates": "count, distinct(page), first(page), last(page)"}


def replay(rig, daemon, *words):
    """Exit code, the summary (None without one), what it says beside."""
    args = ["--json", "replay", "--dir", daemon.data, "--rows", "none", *words]
    done = subprocess.run([rig.program("sluicectl"), *args],
                          capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None, done.stderr


def kept(rig, daemon):
    """Events of each partition, and its first offset."""
    out = subprocess.run([rig.program("sluicectl"), "journal", "dump", "--dir", daemon.data + "/journal"],
                         capture_output=True, text=True, timeout=120, check=True)
    events, first = [0, 0], [None, None]
    for row in map(json.loads, out.stdout.splitlines()):
        p = row["partition"]
        events[p] += row["kind"] == "event"
        first[p] = row["offset"] if first[p] is None else first[p]
    return events, first


def run(rig, name, count, window=WINDOW, memory="256MiB", **gen):
    rig.gen_run(name, pcap=rig.path(name + ".pcap"), count=count, seed=rig.seed, **gen)
    daemon = Daemon(rig, name, file_ports(rig.path(name + ".pcap")), sinks=False, workers=1,
                    journal={"partitions": 2, "segments_max": 3, "reserve": "16MiB", "dedup_window": "0"},
                    state={"checkpoint_every": "100ms", "checkpoints_kept": 2, "memory": memory},
                    time={"past_max": "0", "out_of_orderness": "2s"})
    daemon.config["windows"] = [window]
    rig.expect(daemon.start() and daemon.wait_input_ended() and daemon.wait_quiet(), f"{count} events")
    daemon.stop_well(name)
    return daemon


def check(rig, what, answer, events, begins):
    rc, summary, text = answer
    logs = summary["logs"][:2] if summary else []
    rig.expect(rc == 0 and [x["events"] for x in logs] == events and not any(x["passed_over"] for x in logs) and
               not summary["faults"], f"{what}: all of {events} events are replayed {rc} {text.strip()}")
    said = summary["begins"] if summary else []
    rig.expect(len(said) == len(begins) and all(a.startswith(b[0]) and a.endswith(b[1]) or print(a, b)
                                                for a, b in zip(said, begins)), f"{what}: it says {said}")


def check_memory(rig):
    daemon = run(rig, "memory", 20000, USERS, "1MiB", mix="click=1", users=200, zipf=0,
                 start_ts=1792000000000, ts_rate=100, late=0.05, late_by=90000)
    answers = [replay(rig, daemon), replay(rig, daemon, "--config", daemon.write_config())]
    daemon.config["state"]["memory"] = "256MiB"
    answers.append(replay(rig, daemon, "--config", daemon.write_config()))
    check(rig, "little memory", answers[0], kept(rig, daemon)[0], [])
    crc = [summary["logs"][2]["crc"] for _, summary, _ in answers]
    rig.expect(crc[0] == crc[1] != crc[2], f"merged rows are those of the memory that there was: {crc}")


with Rig(sys.argv[1]) as rig:
    check_memory(rig)
    small = run(rig, "whole", 5000)
    check(rig, "whole", replay(rig, small), kept(rig, small)[0], [])

    daemon = run(rig, "gone", EVENTS)
    events, first = kept(rig, daemon)
    rig.expect(all(first), f"what both partitions began with is gone: they begin at {first}")
    heads = [f"partition {p}: begins at offset {first[p]}; windows that began before are incomplete, "
             "rules over time begin with the next note of rules; definitions "
             for p in range(2)]
    answer = replay(rig, daemon)
    names = [s.split()[-1] for s in (answer[1] or {}).get("begins", [])]
    check(rig, "begun again", answer, events, [(h + "taken from checkpoint p", ".ckpt") for h in heads])
    rig.expect(len(names) == 2 and all(os.path.exists(f"{daemon.data}/state/checkpoints/{n}") for n in names),
               f"these checkpoints are there: {names}")

    shutil.rmtree(daemon.data + "/state/checkpoints")
    rc, summary, text = replay(rig, daemon)
    rig.expect(rc == 1 and summary is None and "its beginning is gone" in text, f"without checkpoints: {text.strip()}")
    check(rig, "with a configuration", replay(rig, daemon, "--config", daemon.write_config()), events,
          [(h, "as configured") for h in heads])
rig.done()
