"""Rulesets of 10,000 patterns put in force one after the other under load. Every event of the journal has the hits that
its block's generation gives it, and no other; in a partition a generation begins where the journal says so, and only
that before it may still come from a worker that sealed it earlier; what was sent is in the journal, or counted where
it was lost. `rules apply` finds the compiled patterns again."""
import collections
import json
import random
import subprocess
import sys
import time

from daemon import UDP_PORT, Daemon
from netns import Sender
from rig import Rig, say, wait_until

PATTERNS, RELOADS = 10000, 12
LIVE = {"a": ("/article/", "/home/1", "/help/", "9"), "b": ("/product/", "/home/2", "/article/1")}


def rules_write(rig, name):
    """Literals and expressions that nothing has; among them those that some pages have, each at its own place."""
    rng, path = random.Random(name), rig.path(f"{name}.yaml")
    step = PATTERNS // len(LIVE[name])
    with open(path, "w", encoding="utf-8") as f:
        f.write("rules:\n")
        for i in range(PATTERNS):
            word = "".join(rng.choice("qxzjkv") for _ in range(14))
            test = f"{{regex: '{word}[0-9]{{2}}'}}" if i % 10 == 5 else f"{{contains: {word}}}"
            if i % step == 7:
                test = f"{{contains: '{LIVE[name][i // step]}'}}"
            f.write(f"- {{id: {name}{i}, when: {{type: click, page: {test}}}, then: tag}}\n")
    return path, {step * k + 7: text for k, text in enumerate(LIVE[name])}


def versions_of(daemon):
    """{generation: its version}, from the trail."""
    found = {}
    for change in daemon.ctl("rules", "history", "--last", "1000")["changes"]:
        found[change["to"]] = change["to_version"]
    return found


def reload_all(rig, daemon, paths):
    """Returns {version: set}."""
    versions, times = {}, []
    for k in range(RELOADS):
        name = "ba"[k % 2]
        start = time.monotonic()
        result = daemon.ctl("rules", "apply", paths[name], timeout=300)
        times.append(time.monotonic() - start)
        before = daemon.counter("accepted")  # behind the change: these events are judged by the new set
        if not rig.expect(result and result["patterns"] == PATTERNS, f"reload {k + 1}: set {name}, "
                          f"{(result or {}).get('patterns')} patterns, after {times[-1]:.2f} s"):
            return versions
        versions[result["version"]] = name
        wait_until(lambda start=before: daemon.counter("accepted") > start + 500, 60, "events under it")
    say(f"with compiled patterns that are kept: {min(times):.2f} to {max(times):.2f} s")
    return versions


def check_journal(rig, daemon, sets, live):
    """Hits of every click; where generations begin."""
    wrong, seen, last, begun = [], collections.Counter(), {}, set()
    dump = subprocess.Popen([rig.program("sluicectl"), "--json", "journal", "dump", "--dir", daemon.data + "/journal"],
                            stdout=subprocess.PIPE)
    for line in dump.stdout:
        record = json.loads(line)
        place, generation = record["partition"], record["generation"]
        if generation + 1 < last.get(place, 0):
            wrong.append(("back", place, record["offset"], generation))
        if record["kind"] == "control" and record["payload"] == f"event=generation generation={generation}":
            begun.add((place, generation))
        elif record["kind"] == "event":
            want = []
            if record["type"] == "click":
                page = json.loads(record["payload"]).get("page", "")
                want = [at for at, text in live.get(sets[generation], {}).items() if text in page]
            if record["hits"] != want:
                wrong.append((place, record["offset"], generation, sets[generation], record["hits"], want))
            if (place, generation) not in begun:
                wrong.append(("not announced", place, record["offset"], generation))
            seen[(place, generation)] += 1
        last[place] = max(generation, last.get(place, 0))
    rig.expect(dump.wait() == 0 and not wrong, f"{sum(seen.values())} events of {len(seen)} generations in partitions, "
               f"each judged under its own {wrong[:2] or ''}")
    judged = {g for _, g in seen if sets[g] != "none"}
    rig.expect(len(judged) >= RELOADS, f"{len(judged)} generations of 10,000 patterns have judged events")
    return sum(seen.values())


with Rig(sys.argv[1], root=True) as rig:
    sender = Sender(rig)
    daemon = Daemon(rig, "reload", sender.af_packet(2), sinks=False, rules={}, journal={"segments_max": 512})
    del daemon.config["rules"]["dir"]
    made = {name: rules_write(rig, name) for name in LIVE}
    rig.expect(daemon.start(), "sluiced runs without rules")
    for name in "ba":  # their patterns are kept from here on
        start = time.monotonic()
        rig.expect(daemon.ctl("rules", "apply", made[name][0], timeout=300), f"set {name} compiled")
        say(f"for the first time: {time.monotonic() - start:.2f} s")
    gen = sender.gen("load", 4, UDP_PORT, rate=20000, events_per_datagram=6, seed=rig.seed, flows=16, users=5000,
                     pages=300, mix="click=80,page_view=20")
    rig.expect(wait_until(lambda: daemon.counter("events") > 10000, 60, "traffic"), "traffic arrives")
    versions = reload_all(rig, daemon, {name: path for name, (path, _) in made.items()})
    sent = rig.gen_stop("load", gen)
    rig.expect(daemon.wait_quiet(120), "all is durable")
    daemon.expect_balanced("after the reloads")
    status, ports = daemon.ctl("status"), (daemon.ctl("ports") or {})["ports"]
    lost = sum(p["kernel_drops"] for p in ports)
    drops = {d["reason"]: d["count"] for d in status["drops"]}  # of the same moment as the frames
    late = drops.pop("no_batch", 0)  # events for which the journal was too slow; others are frames of the kernel's own
    frames = status["events"]["frames"] - sum(drops.values())
    rig.expect(frames + lost == sent["datagrams"], f"{frames} datagrams and {lost} dropped by the kernel of "
               f"{int(sent['datagrams'])}; foreign frames: {drops}")
    metrics = [m for m in daemon.ctl("metrics")["text"].splitlines() if m.startswith("sluice_worker_reload")]
    say("; ".join(metrics))
    sets = {g: versions.get(v, "none") for g, v in versions_of(daemon).items()}
    daemon.stop_well("reloads")
    count = check_journal(rig, daemon, sets, {name: live for name, (_, live) in made.items()})
    rig.expect(count == status["events"]["journaled"] == status["events"]["accepted"] and
               (lost or count + late == sent["accepted"]), f"{count} events in the journal and {late} dropped "
               f"for want of a batch, of {int(sent['accepted'])}")
rig.done()
