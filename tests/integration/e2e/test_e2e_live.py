"""A kernel sender in a network namespace, a veth pair, DPDK's af_packet at our end: IPv4 and IPv6, two queues, two
workers.

Shown: at a modest rate nothing is lost anywhere, per event id; rulesets change under traffic without a lost event, each
block has one generation, and generations grow within a partition. af_xdp: some thousand events (a smoke test)."""
import json
import subprocess
import sys
import time

from daemon import UDP_PORT, Daemon
from netns import Sender
from rig import SOURCE, Rig, say, wait_until

RATE, SECONDS, SECONDS_MAX = 15000, 12, 100  # the traffic lasts for as long as rulesets change
MIX = dict(events_per_datagram=3, dup_permille=20, bad_permille=20, fraud_permille=30, noid_permille=10,
           escape_permille=20, utf8_permille=20, extra_permille=20, flows=8)
RULES = """rules:
  - id: everything-{n}
    title: generation {n}
    severity: info
    when:
      type: click
      country: {{in: [US, DE, IN]}}
    then: [tag]
"""


def apply_rules(rig, daemon, count):
    """Puts new rulesets in force one after the other; returns the generations."""
    generations = [daemon.ctl("status")["rules"]["generation"]]
    for n in range(count):
        path = rig.path(f"rules{n}.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(RULES.format(n=n))
        answer = daemon.ctl("rules", "apply", path, f"{SOURCE}/rules/packs/click-fraud.yaml")
        if not rig.expect(answer is not None, f"ruleset {n} applied under traffic: {answer}"):
            break
        generations.append(daemon.ctl("status")["rules"]["generation"])
        seen = daemon.counter("events")
        rig.expect(wait_until(lambda: daemon.counter("events") > seen + RATE // 10, 60, "events"), "events under it")
    with open(rig.path("bad.yaml"), "w", encoding="utf-8") as f:
        f.write(RULES.format(n=0).replace("in: [US, DE, IN]", "regex: '(unclosed'"))
    said = daemon.ctl_fails("rules", "apply", rig.path("bad.yaml"))
    rig.expect("bad.yaml:" in said, f"a bad ruleset is refused with its place: {said.strip()[:120]}")
    rig.expect(daemon.ctl("status")["rules"]["generation"] == generations[-1], "and the one in force stays")
    return generations


def check_generations(rig, daemon, generations):
    """Generations of the events in each partition: they never go back, and all that were in force occur."""
    dump = subprocess.Popen([rig.program("sluicectl"), "--json", "journal", "dump", "--dir", daemon.data + "/journal"],
                            stdout=subprocess.PIPE, text=True)
    last, seen, back = {}, {}, 0
    for line in dump.stdout:
        record = json.loads(line)
        if record["kind"] != "event":
            continue
        p, generation = record["partition"], record["generation"]
        back += generation < last.get(p, 0)
        last[p] = generation
        seen[generation] = seen.get(generation, 0) + 1
    rig.expect(dump.wait() == 0 and sorted(seen) == generations, f"events of each generation: {seen}")
    say(f"records behind one of a later generation (two workers, one partition): {back}")


def traffic(rig, daemon, sender, families, during=None, **options):
    """Sends by each family at the same time, until `during` ends or by itself; returns the truth file of both."""
    options = dict(MIX, **options)
    gens = {f: sender.gen(f"{daemon.name}{f}", f, UDP_PORT, seed=rig.seed + f, **options) for f in families}
    wait_until(lambda: daemon.counter("events") > 0, 60, "the first event")
    until = time.monotonic() + SECONDS
    if during:
        during()
        time.sleep(max(0, until - time.monotonic()))
    sent = 0
    for family, gen in gens.items():
        if not during:
            gen.wait(120)
        sent += int(rig.gen_stop(f"{daemon.name}{family}", gen).get("events", 0))
    truth = f"{daemon.name}.truth"
    with open(rig.path(truth), "wb") as out:
        for family in families:
            with open(rig.path(f"{daemon.name}{family}.truth"), "rb") as f:
                out.write(f.read())
    rig.expect(wait_until(lambda: daemon.counter("events") >= sent, 90, f"{sent} events"),
               f"of {sent} events sent {daemon.counter('events')} arrived")
    return truth


def af_packet(rig, sender):
    daemon = Daemon(rig, "live", sender.af_packet(2))
    rig.expect(daemon.start(), "sluiced runs on af_packet")
    generations = []
    truth = traffic(rig, daemon, sender, (4, 6), lambda: generations.extend(apply_rules(rig, daemon, 4)),
                    rate=RATE // 2, duration=SECONDS_MAX)
    rig.expect(daemon.wait_quiet() and daemon.drain(), "delivered")
    daemon.expect_balanced("live")
    daemon.expect_no_kernel_drops()
    drops = daemon.drops()
    say(f"drops by name: {drops}")
    rig.expect(not {"no_batch", "journal_full", "dead_letter_quota", "bad_udp_checksum"} & set(drops),
               "no loss under any name")
    busy = [w.get("frames", 0) for w in daemon.ctl("stats")["workers"]]
    rig.expect(all(busy), f"both workers had frames: {busy}")
    daemon.stop_well("live")
    rig.verify(daemon, "IPv4 and IPv6 by af_packet", truth=truth)
    check_generations(rig, daemon, generations)


def af_xdp(rig, sender):
    daemon = Daemon(rig, "xdp", sender.af_xdp(), workers=1, sinks=False)
    if not daemon.start():
        why = daemon.log_tail(600)
        say("af_xdp left out: " + why)
        rig.expect("xdp" in why.lower(), "sluiced says that it was af_xdp")
        return
    truth = traffic(rig, daemon, sender, (4,), rate=3000, count=6000)
    rig.expect(daemon.wait_quiet(), "af_xdp: all is durable")
    daemon.expect_balanced("af_xdp")
    daemon.stop_well("af_xdp")
    rig.verify(daemon, "af_xdp", truth=truth)


with Rig(sys.argv[1], kafka=3, clickhouse=True, root=True) as rig:
    peer = Sender(rig)
    af_packet(rig, peer)
    af_xdp(rig, peer)
rig.done()
