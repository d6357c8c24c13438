"""Sequences and absences against Apache Flink's CEP library: the same events through sluiced (parse, deduplicate,
match, journal) and `sluicectl replay`, and through patterns of the same tests in one Flink job. Compared is each match:
rule, key, and the ids of its events in their order.

    test_cep_equality.py BUILD_DIR [EVENTS]

In order, at P = 4: no event is late; rules by another key than the partition's see shadow records. Late, at P = 1:
there Flink's watermark after each record is the partition's."""
import collections
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import flink  # noqa: E402  (needs the path above)
from cep_input import Events, make, write_pcap  # noqa: E402
from cep_rules import FIELDS, RULES, write_flink, write_ours  # noqa: E402
from daemon import Daemon, file_ports  # noqa: E402
from rig import Rig, skip  # noqa: E402

BOUND_MS, SLOTS = 10000, 2
LATE_RULES = [name for name, spec in RULES.items() if spec["by"] == "user_id"]


def journal_of(rig, name, lines, partitions):
    """Lines through sluiced into a journal, with the rules in force."""
    write_pcap(rig.path(name + ".pcap"), lines)
    os.mkdir(rig.path(name + ".rules"))
    write_ours(rig.path(name + ".rules", "cep.yaml"), RULES)
    daemon = Daemon(rig, name, file_ports(rig.path(name + ".pcap")), workers=1, sinks=False)
    daemon.config["journal"].update(partitions=partitions, segments_max=4096)
    daemon.config["time"] = {"past_max": "0", "out_of_orderness": f"{BOUND_MS}ms", "tick": "1m"}  # none is idle
    daemon.config["state"] = {"enabled": False}
    daemon.config["rules"] = {"dir": rig.path(name + ".rules")}
    if not rig.expect(daemon.start(), f"{name}: sluiced runs"):
        sys.exit(daemon.log_tail())
    rig.expect(daemon.wait_input_ended(1800) and daemon.wait_quiet(600), f"{name}: the file is read")
    journaled = daemon.counter("journaled")
    daemon.stop_well(name)
    return journaled


def ours(rig, name):
    """Matches by rule, as (key, ids), from a replay of the journal."""
    rows = rig.path(name + ".rows")
    out = subprocess.run([rig.program("sluicectl"), "--json", "replay", "--dir", rig.path(name), "--config",
                          rig.path(name + ".yaml"), "--rows", "partial", "--out", rows], capture_output=True, text=True,
                         check=False)
    rig.expect(out.returncode == 0, f"{name}: replayed {out.stderr[-500:]}")
    found = collections.defaultdict(list)
    with open(rows, encoding="utf-8") as f:
        for row in map(json.loads, f):
            if "rule_id" in row:
                found[row["rule_id"]].append((row["key"], tuple(row["event_ids"])))
    return found


def lines_of(prefix):
    """Of all of a job's slots."""
    for slot in range(SLOTS):
        with open(f"{prefix}.{slot}", encoding="utf-8") as f:
            yield from f.read().splitlines()


def theirs(rig, name, events, class_path, rules):
    """Matches by rule, and (rule, id) of late events."""
    prefix, found, late = rig.path(name + ".flink"), collections.defaultdict(list), set()
    events.write(rig.path(name + ".lines"))
    write_flink(rig.path(name + ".patterns"), rules)
    said = flink.run(class_path, heap="6g", program="Cep", **{"in": rig.path(name + ".lines")}, fields=",".join(FIELDS),
                     rules=rig.path(name + ".patterns"), out=prefix, late=prefix + ".late", bound=BOUND_MS, par=SLOTS)
    rig.expect(int(said["events"]) == len(events.event), f"{name}: Flink read {said['events']} events")
    for rule in rules:
        for line in lines_of(f"{prefix}.{rule}"):
            _, key, ids = line.split("\t")
            found[rule].append((key, tuple(ids.split(" "))))
        late |= {tuple(line.split("\t")) for line in lines_of(f"{prefix}.late.{rule}")}
    return found, late


def compare(rig, name, events, mine, flinks, rules):
    explained = 0
    for rule in rules:
        spec = RULES[rule]
        a, b = collections.Counter(mine[rule]), collections.Counter(flinks[rule])
        expected = collections.Counter(spec["expect"](flinks[rule], events, spec))
        unexplained = (a - expected) + (expected - a)
        differ = sum(((a - b) + (b - a)).values())
        explained += differ
        why = f", {differ} others by choice: {spec['expect'].__name__}" if differ and not unexplained else ""
        rig.expect(not unexplained and a, f"{name}, {rule}: {sum(a.values())} matches, Flink {sum(b.values())}{why}, "
                   f"unexplained {sum(unexplained.values())}")
        for match in list(a - expected)[:3]:
            print("    only sluice:", describe(events, match))
        for match in list(expected - a)[:3]:
            print("    only Flink: ", describe(events, match))
    return explained


def describe(events, match):
    return match[0], [(i[:8], events.event[i]["ts"], events.status(i)) for i in match[1] if i in events.event]


def case(rig, name, count, class_path, partitions, rules, late_ms):
    lines = make(rig, count, BOUND_MS - 1000, late_ms)
    events = Events(lines)
    journaled = journal_of(rig, name, lines, partitions)
    rig.expect(journaled == len(events.event), f"{name}: {len(lines)} lines, {journaled} events journaled")
    flinks, late = theirs(rig, name, events, class_path, {r: RULES[r] for r in rules})
    events.late = {i for _, i in late}
    rig.expect(bool(late) == bool(late_ms), f"{name}: late by Flink's patterns: {len(late)}")
    explained = compare(rig, name, events, ours(rig, name), flinks, rules)
    rig.expect(explained > 0, f"{name}: {len(rules)} rules, {sum(map(len, flinks.values()))} matches of Flink, "
               f"{explained} differences, all by choice")


def main():
    events = int(sys.argv[2]) if len(sys.argv) > 2 else 9000
    reason = flink.missing()
    if reason:
        skip(reason)
    with Rig(sys.argv[1]) as rig:
        class_path = flink.build(rig.dir)
        case(rig, "orderly", events, class_path, 4, list(RULES), 0)
        case(rig, "late", events // 3, class_path, 1, LATE_RULES, 20000)
    rig.done()


main()
