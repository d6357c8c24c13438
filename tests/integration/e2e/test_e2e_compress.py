"""Cold segments of the journal are compressed in the running daemon; no sink but the state stage, one partition.

Shown: what `journal dump`, `journal verify`, `journal ls`, `event`, `rules try`, `replay` say over raw segments and
over a mix of both is the same, record by record; duplicates are refused by the ids of compressed ones; the disk has
less; kill -9 at each step leaves a journal that a start takes; damage in a compressed file is named, and a start
passes over it. Prints the ratio and the thread's CPU time."""
import glob
import json
import os
import re
import subprocess
import sys

from daemon import Daemon, file_ports
from rig import Rig, say, wait_until

EVENTS = 70000
STEPS = ["journal_compress_frame:3", "journal_compress_written:1", "journal_compress_synced:1",
         "journal_compress_renamed:1", "journal_compress_named:1", "journal_compressed_freed:1"]


def metric(daemon, name):
    text = (daemon.ctl("metrics") or {}).get("text", "")
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + "{"))


def ctl(rig, *words, good=(0,)):
    out = subprocess.run([rig.program("sluicectl"), "--json", *words], capture_output=True, text=True, timeout=120,
                         check=False)
    rig.expect(out.returncode in good, f"sluicectl {words[0]} {words[1]}: exit {out.returncode} {out.stderr[-300:]}")
    return out.stdout


def dump(rig, daemon, good=(0,)):
    """Events and dead letters of the journal as it lies there, by address."""
    rows = [json.loads(line) for line in ctl(rig, "journal", "dump", "--dir", daemon.data + "/journal",
                                             good=good).splitlines()]
    return {(r["partition"], r["offset"]): r for r in rows if r["kind"] in ("event", "refused")}


def files(daemon, end):
    return sorted(glob.glob(daemon.data + "/journal/p*/seg-*" + end))


def bytes_of(paths):
    return sum(os.path.getsize(p) for p in paths)


def tried(rig, daemon):
    """How often rules hit, by `rules try` over the whole journal."""
    text = ctl(rig, "rules", "try", rig.path("rules", "rules.yaml"), "--dir", daemon.data)
    return [(r["rule"], r["now"]) for r in json.loads(text)["alerts"]] if text else None


def replayed(rig, daemon):
    path = rig.path("replay.jsonl")
    ctl(rig, "replay", "--dir", daemon.data, "--rows", "partial", "--out", path)
    with open(path, encoding="utf-8") as f:
        return sorted(line for line in f if '"alert_id"' in line)


def compressor_cpu(daemon):
    """Seconds of CPU that the threads have used."""
    total = 0.0
    for stat in glob.glob(f"/proc/{daemon.child.pid}/task/*/stat"):
        with open(stat, encoding="utf-8") as f:
            text = f.read()
        if re.search(r"\(compress\)", text):
            fields = text.rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            if int(fields[16]) < min(19, os.getpriority(os.PRIO_PROCESS, daemon.child.pid) + 10):
                return -1
    return total


def compressed_all(daemon):
    """All but two and the next one, and counted, which comes a moment later."""
    return wait_until(lambda: len(files(daemon, ".log")) <= 3 and files(daemon, ".zst") and
                      not glob.glob(daemon.data + "/journal/p*/compress.tmp") and
                      metric(daemon, "sluice_partition_compressions_total") == len(files(daemon, ".zst")), 150,
                      "compressed segments")


def same(rig, what, before, after):
    wrong = [k for k in before if after.get(k) != before[k]]
    rig.expect(before and not wrong, f"{what}: {len(before)} records as they were, not so: {wrong[:3]}")


def kills(rig, daemon, before):
    """A kill at each step, raw segments of new events each time."""
    for i, step in enumerate(STEPS):
        name = f"k{i}"
        rig.gen_run(name, pcap=rig.path(name + ".pcap"), count=16000, seed=rig.seed + 10 + i)
        daemon.config["ports"] = file_ports(rig.path(name + ".pcap"))
        daemon.start(crash=step, wait=0)
        rig.expect(daemon.wait_dead(120) == -9, f"killed at {step}")
        ctl(rig, "journal", "verify", "--dir", daemon.data + "/journal")
    same(rig, "after all of them", before, dump(rig, daemon))
    rig.gen_run("end", pcap=rig.path("end.pcap"), count=10, seed=rig.seed + 99)
    daemon.config["ports"] = file_ports(rig.path("end.pcap"))


def damage(rig, daemon, before):
    path = files(daemon, ".zst")[0]
    with open(path, "r+b") as f:
        f.seek(os.path.getsize(path) // 2)
        f.write(b"damage")
    out = subprocess.run([rig.program("sluicectl"), "journal", "verify", "--dir", daemon.data + "/journal"],
                         capture_output=True, text=True, timeout=120, check=False)
    rig.expect(out.returncode == 1 and "compressed frame" in out.stdout + out.stderr,
               f"verify names it: {(out.stdout + out.stderr).strip().splitlines()[-1]}")
    after = dump(rig, daemon, good=(1,))
    lost = [k for k in before if k not in after]
    rig.expect(daemon.start(), "a start passes over it")
    daemon.stop_well("with damage")
    return lost


with Rig(sys.argv[1]) as rig:
    os.mkdir(rig.path("rules"))
    with open(rig.path("rules", "rules.yaml"), "w", encoding="utf-8") as f:
        f.write("rules:\n- {id: some, when: {page: {contains: a}}, then: [tag]}\n"
                "- {id: often, when: {type: click}, by: user_id, count: {at_least: 5, within: 60s}, then: [alert]}\n")
    rig.gen_run("first", pcap=rig.path("first.pcap"), count=EVENTS, users=500, seed=rig.seed)
    daemon = Daemon(rig, "cold", file_ports(rig.path("first.pcap")), sinks=False, workers=1,
                    rules={"dir": rig.path("rules")},
                    journal={"partitions": 1, "retain": "6h", "compress_after": "0"})
    rig.expect(daemon.start() and daemon.wait_input_ended() and daemon.wait_quiet(), "all raw")
    daemon.stop_well("raw")
    raw, raw_tried, raw_replayed = dump(rig, daemon), tried(rig, daemon), replayed(rig, daemon)
    raw_bytes, raw_segments = bytes_of(files(daemon, ".log")), len(files(daemon, ".log"))
    rig.expect(raw_segments >= 6 and not files(daemon, ".zst"), f"{raw_segments} raw segments")

    # The same file again: all are duplicates.
    daemon.config["journal"]["compress_after"] = "1ms"
    rig.expect(daemon.start() and daemon.wait_input_ended() and compressed_all(daemon), "with compress_after")
    cpu = compressor_cpu(daemon)
    counts = {n: metric(daemon, "sluice_partition_" + n) for n in
              ("compressions_total", "compress_before_bytes_total", "compress_after_bytes_total", "compressed_segments",
               "disk_bytes", "compress_failed_total", "compress_damaged_total", "drops_total")}
    compressed = files(daemon, ".zst")
    rig.expect(len(compressed) == counts["compressions_total"] == counts["compressed_segments"] and
               bytes_of(compressed) == counts["compress_after_bytes_total"] and
               counts["compress_failed_total"] + counts["compress_damaged_total"] == 0,
               f"{len(compressed)} of {raw_segments} segments, as counted: {counts}")
    mb = counts["compress_before_bytes_total"] / 1e6
    say(f"RATIO {counts['compress_before_bytes_total'] / counts['compress_after_bytes_total']:.2f} "
        f"({mb:.0f} MB), CPU {cpu / mb * 1000:.2f} ms a MB, with verification")
    rig.expect(counts["compress_after_bytes_total"] * 2 < counts["compress_before_bytes_total"] and cpu > 0,
               "less than half, by a thread of a low priority")
    live = daemon.ctl("event", raw[(0, max(o for p, o in raw if p == 0) // 3)]["event_id"])
    rig.expect(live and live["records"][0]["partition"] == 0, "an event of a compressed segment is found")
    daemon.expect_balanced("with compressed segments")
    daemon.stop_well("compressed")
    same(rig, "a mix of both", raw, dump(rig, daemon))
    ctl(rig, "journal", "verify", "--dir", daemon.data + "/journal")
    ctl(rig, "journal", "ls", "--dir", daemon.data + "/journal")
    again = tried(rig, daemon)
    rig.expect(again and again == raw_tried, f"rules try says the same: {again} {raw_tried}")
    rig.expect(raw_replayed and replayed(rig, daemon) == raw_replayed, f"replay, too: {len(raw_replayed)} alerts")
    mix = dump(rig, daemon)
    rig.expect(mix == raw, "every duplicate was refused, by ids of compressed segments")
    kills(rig, daemon, mix)
    rig.expect(daemon.start() and daemon.wait_quiet(), "it runs after the kills")
    daemon.stop_well("after the kills")
    whole = dump(rig, daemon)
    same(rig, "in the end", mix, whole)
    lost = damage(rig, daemon, whole)
    rig.expect(0 < len(lost) < len(whole) / 2, f"{len(lost)} records, those of a frame, are not shown")
rig.done()
