"""The account of what is not in the journal after kills under live traffic. No times are assumed: each source port is
one flow, its datagrams stay in order through one queue, one worker and the lane to each partition, and what is
durable is a prefix. So an event that is missing was sent either while sluiced was down, or later than what the
journal has last, from that life of sluiced and that flow, in one of the partitions (the one that it was meant for).
Everything else is a loss without a reason."""
import bisect
import re
import subprocess
from collections import Counter

from rig import say

RECORD = re.compile(rb'"partition":(\d+),.*?"kind":"event".*?"event_id":"([0-9a-f-]{36})".*?"receive_time_ms":(\d+),'
                    rb'.*?"source_port":(\d+),')


class SendClock:
    """When and by which flow each line of a truth file was sent, by the generator's clock file: a burst is one flow."""

    def __init__(self, path, flows):
        self.flows, self.lines, self.before = flows, [], []
        with open(path, encoding="ascii") as f:
            for row in f:
                line, before, _after = map(int, row.split())
                self.lines.append(line)
                self.before.append(before)

    def of(self, line):
        """(milliseconds, flow)"""
        burst = min(bisect.bisect_left(self.lines, line), len(self.lines) - 1)
        return self.before[burst], burst % self.flows


class Losses:
    def __init__(self, rig, daemon, name, flows, kills):
        self.rig, self.daemon, self.kills, self.name = rig, daemon, kills, name
        self.clock = SendClock(rig.path(name + ".clock"), flows)
        self.died = [k.died_ms for k in kills]
        self.last = {}  # (life, flow) -> partition -> last line that the journal has
        self.have = []  # lines that it has

    def life_of(self, sent_ms):
        """0: before the first kill, 1: before the second, ..."""
        return bisect.bisect_left(self.died, sent_ms)

    def read_journal(self):
        lines, seen, ports = {}, [], {}
        with open(self.rig.path(self.name + ".truth"), "rb") as f:
            for number, row in enumerate(f, 1):
                ident, _kind, fate, _rule = row.split()
                if fate == b"accepted":
                    lines[ident] = number
        dump = subprocess.Popen([self.rig.program("sluicectl"), "--json", "journal", "dump", "--dir",
                                 self.daemon.data + "/journal"], stdout=subprocess.PIPE)
        for row in dump.stdout:
            record = RECORD.search(row)
            line = lines.get(record.group(2)) if record else None
            if line:
                sent_ms, flow = self.clock.of(line)
                seen.append((line, int(record.group(1)), sent_ms, flow, int(record.group(3)), record.group(4)))
                ports.setdefault(flow, Counter())[record.group(4)] += 1
        self.have = [line for line, *_ in seen]
        for line, partition, sent_ms, flow, received_ms, port in seen:
            life = self.life_of(sent_ms)
            # else it is the event's duplicate that is in the journal, which came later or by another flow
            if life == self.life_of(received_ms) and port == ports[flow].most_common(1)[0][0]:
                of_flow = self.last.setdefault((life, flow), {})
                of_flow[partition] = max(line, of_flow.get(partition, 0))
        self.rig.expect(dump.wait() == 0 and self.last, "the journal was read")

    def reason(self, line, partitions=4):
        """The kill that explains a missing line, and how long before it the line was sent (0: after); or None."""
        sent_ms, flow = self.clock.of(line)
        life = self.life_of(sent_ms)
        if life and sent_ms <= self.kills[life - 1].back_ms:
            return self.kills[life - 1], 0
        have = self.last.get((life, flow), {})
        if life < len(self.kills) and line > min(have.get(p, 0) for p in range(partitions)):
            return self.kills[life], self.died[life] - sent_ms
        return None

    def check(self):
        """After verify --missing-list: every missing event has its kill."""
        self.read_journal()
        count, longest, bare = {}, {}, []
        with open(self.rig.path(self.name + ".missing"), encoding="ascii") as f:
            for row in f:
                line = int(row.split()[0])
                found = self.reason(line)
                if not found:
                    bare.append(line)
                    continue
                number = found[0].number
                count[number] = count.get(number, 0) + 1
                longest[number] = max(longest.get(number, 0), found[1])
        for kill in self.kills:
            say(f"{kill.text()}: {count.get(kill.number, 0)} events sent and not journaled, the first of them "
                f"{longest.get(kill.number, 0)} ms before it; down for {kill.back_ms - kill.died_ms} ms")
        blind = sum(self.reason(line) is not None for line in self.have)
        say(f"{100 * blind / len(self.have):.1f} % of the journaled events could be missing without being noticed here")
        self.rig.expect(not bare, f"{sum(count.values())} events are not in the journal because of a kill, and "
                        f"{len(bare)} without such a reason {bare[:5] or ''}")
