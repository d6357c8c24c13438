"""A sink that is dead for longer than the journal and the disk have room, under live traffic: the real ClickHouse,
killed. Shown for each policy: nothing stops or crashes, what is lost has a name and an exact count, durable over kill
-9 at the step that counts it, and the sink goes on behind the gap; on a real full disk (a small tmpfs) what is stored
is delivered to the end, checkpoints are written, and it takes events again by itself.

The count is exact by addresses: each event that the journal still has at or behind where the sink went on is in
ClickHouse once; of what lies before that, ClickHouse has what the sink's counters say, and nothing of the gap."""
import ctypes
import json
import os
import re
import subprocess
import sys
import time

from daemon import UDP_PORT, Daemon
from netns import Sender
from rig import Rig, say, skip, wait_until

RATE = 12000
CLONE_NEWNS = 0x20000
MIX = dict(rate=RATE, events_per_datagram=8, flows=8, users=200, pages=200)
JOURNAL = {"partitions": 2, "segment_bytes": "4MiB", "dedup_window": "1s", "dedup_ids_max": 1000000}
STATE = {"enabled": True, "step": "500ms", "checkpoint_every": "300ms", "checkpoints_kept": 2, "segment_bytes": "4MiB"}
DISK_MIB = 120
SKIPPED = r'RECORDS SKIPPED: sink=%s partition=(\d+) offsets=(\d+)-(\d+) count=\d+"'


def metric(daemon, name):
    text = (daemon.ctl("metrics") or {}).get("text", "")
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + "{") or
               line.startswith(name + " "))


def sink_rows(daemon, sink="clickhouse"):
    return [s for s in (daemon.ctl("sinks") or {}).get("sinks", []) if s["sink"] == sink]


def total(daemon, key, sink="clickhouse"):
    return sum(s[key] for s in sink_rows(daemon, sink))


class Case:
    def __init__(self, rig, sender, name, journal, kafka=False, **sections):
        self.rig, self.sender, self.name = rig, sender, name
        self.daemon = Daemon(rig, name, sender.af_packet(2), time={"out_of_orderness": "500ms"},
                             journal=dict(JOURNAL, **journal), state=dict(STATE), **sections)
        if not kafka:
            self.daemon.config.pop("kafka")
        self.database, self.runs = name, 0

    def load(self, until, seconds, what):
        """Traffic until the condition holds."""
        self.runs += 1
        name = f"{self.name}{self.runs}"
        gen = self.sender.gen(name, 4, UDP_PORT, seed=self.rig.seed + self.runs, **MIX)
        self.rig.expect(wait_until(until, seconds, what, step=0.2), what)
        self.rig.gen_stop(name, gen)

    def some(self, count, what):
        """So many events and no more, slowly: far less than any limit."""
        self.runs += 1
        name, before = f"{self.name}{self.runs}", self.daemon.counter("journaled")
        gen = self.sender.gen(name, 4, UDP_PORT, seed=self.rig.seed + self.runs, **dict(MIX, rate=3000, count=count))
        self.rig.expect(wait_until(lambda: self.daemon.counter("journaled") >= before + count, 60, what), what)
        self.rig.gen_stop(name, gen)

    def taken(self):
        """All that was sent is durable, whether a sink is there or not: two looks in a row show the same."""
        last = [None]

        def still():
            now = (self.daemon.counter("accepted"), self.daemon.counter("journaled"))
            same = now == last[0] and now[0] >= 0
            last[0] = now
            return same

        self.rig.expect(wait_until(still, 90, "an end of what was sent", step=0.5), "what was sent is taken")

    def delivered(self, seconds=300):
        """Nothing under way, nothing left to deliver."""
        return self.rig.expect(self.daemon.wait_quiet() and self.daemon.drain(seconds), "everything else is delivered")

    def addresses(self, sink="clickhouse"):
        """Events of a sink: (partition, offset)."""
        rows = []
        if sink == "kafka":
            for topic in ("topic_click", "topic_platform"):
                args = ["kcat", "-b", self.rig.kafka.brokers, "-C", "-t", self.daemon.config["kafka"][topic], "-o",
                        "beginning", "-e", "-q", "-X", "isolation.level=read_committed", "-f", "%h\\n"]
                out = subprocess.run(args, capture_output=True, text=True, timeout=120, check=True).stdout
                rows += [tuple(map(int, a.split("/")[2:])) for a in re.findall(r"sluice-address=([^,\n]+)", out)]
            return rows
        for table in ("clicks_raw", "events_raw"):
            text = self.rig.clickhouse.query(f"SELECT _partition, _offset FROM {self.database}.{table} FORMAT TSV")
            rows += [tuple(map(int, line.split("\t"))) for line in text.splitlines()]
        return rows

    def check_gap(self, what, least=1, damaged=False, sink="clickhouse"):
        """By address, after everything is delivered; sluiced runs."""
        rig, daemon = self.rig, self.daemon
        daemon.expect_balanced(what)
        rows = self.addresses(sink)
        have = set(rows)
        rig.expect(len(rows) == len(have), f"{what}: no event twice in {len(rows)} rows")
        gap = set()
        for words in re.findall(SKIPPED % sink, rig.text(daemon.log)):
            partition, low, high = map(int, words)
            gap.update((partition, offset) for offset in range(low, high + 1))
        skipped = total(daemon, "skipped", sink)
        rig.expect(skipped == len(gap) >= least and not gap & have,
                   f"{what}: {skipped} records skipped, as the log names them ({len(gap)}), none of them delivered")
        missing, kept = [], 0
        dump = subprocess.Popen([rig.program("sluicectl"), "--json", "journal", "dump", "--dir",
                                 daemon.data + "/journal"], stdout=subprocess.PIPE, text=True)
        for line in dump.stdout:
            r = json.loads(line)
            address = (r["partition"], r["offset"])
            if r["kind"] == "event" and address not in gap:
                kept += 1
                if address not in have:
                    missing.append(address)
        rig.expect(dump.wait() == damaged and kept and not missing,
                   f"{what}: all of the {kept} other events that the journal has are there {missing[:3] or ''}")
        return skipped


def gave_up(case, sink="clickhouse"):
    def true():
        rows = sink_rows(case.daemon, sink)
        return rows and all(s["given_up"] for s in rows)
    return true


def drop_old(rig, sender):
    case = Case(rig, sender, "old", {"segments_max": 4, "full": "drop_old_unsent"})
    daemon = case.daemon
    rig.expect(daemon.start(), "drop_old_unsent: sluiced runs")
    case.load(lambda: daemon.counter("journaled") > 5000, 60, "traffic before the outage")
    case.delivered()
    before = len(case.addresses())
    rig.clickhouse.kill()
    case.load(gave_up(case), 180, "ClickHouse away: the oldest is given up in every partition")
    rig.expect(metric(daemon, "sluice_sink_lag_alarm") >= 2 and "SINK FAR BEHIND" in rig.text(daemon.log),
               "an alarm came before, in the log and as a metric")
    case.taken()
    given = total(daemon, "given_up")
    daemon.kill()
    rig.expect(daemon.start(), "kill -9 while it is away, and up again")
    rig.expect(total(daemon, "given_up") == given, f"what was given up stands: {given} records at most")
    case.load(lambda: total(daemon, "given_up") > given, 180, "more is given up, nobody knowing where the sink stands")
    daemon.kill()
    rig.clickhouse.start()
    for point in ("journal_skip_written:1", "journal_skip_taken:1", "ch_marked:1"):
        daemon.start(crash=point, wait=0)
        rig.expect(daemon.wait_dead(120) is not None, f"killed at {point}, as the sink passes over the gap")
    rig.expect(daemon.start(), "and up again")
    case.load(lambda: total(daemon, "events") > 3000, 120, "new events reach ClickHouse")
    case.delivered()
    skipped = case.check_gap("drop_old_unsent")
    rig.expect(len(case.addresses()) > before and skipped, "what was there before is still there")
    rig.expect(total(daemon, "given_up") == 0, "and nothing is left to be passed over")
    daemon.stop_well("drop_old_unsent")


def lag_limit(rig, sender):
    limits = {"lag_limit": "6MiB", "lag_policy": "skip"}
    case = Case(rig, sender, "lag", {"segments_max": 64}, kafka=True, clickhouse=limits, kafka_more=limits)
    daemon = case.daemon
    daemon.config["kafka"].update(daemon.config.pop("kafka_more"))
    rig.expect(daemon.start(), "lag_limit: sluiced runs")
    case.load(lambda: daemon.counter("journaled") > 5000, 60, "traffic before the outage")
    case.delivered()
    rig.clickhouse.freeze()
    rig.kafka.freeze(1)
    case.load(lambda: gave_up(case)() and gave_up(case, "kafka")(), 180,
              "both servers frozen: the limit is reached in every partition, of both sinks")
    rig.expect("SINK FAR BEHIND" in rig.text(daemon.log), "an alarm came before")
    rig.expect(not daemon.drops().get("journal_full"), "nothing was dropped at the door")
    rig.clickhouse.thaw()
    rig.kafka.thaw(1)
    case.load(lambda: total(daemon, "given_up") + total(daemon, "given_up", "kafka") == 0, 180,
              "back, and behind the gap")
    case.delivered()
    skipped = [case.check_gap(f"lag_limit, {sink}", sink=sink) for sink in ("clickhouse", "kafka")]
    behind = rig.text(daemon.log).count("SINK FAR BEHIND")
    daemon.kill()
    rig.clickhouse.freeze()
    rig.kafka.freeze(1)
    rig.expect(daemon.start(), "up again, with a journal of more than the limit, most of it delivered")
    rig.expect(all(0 < s["position"] for sink in ("clickhouse", "kafka") for s in sink_rows(daemon, sink)),
               "where sinks stood is known, though nobody can be asked")
    case.some(3000, "traffic while the servers are frozen")
    time.sleep(1)  # the limits are looked at ten times a second
    rig.clickhouse.thaw()
    rig.kafka.thaw(1)
    case.delivered()
    again = [case.check_gap(f"lag_limit, {sink}, after the start", sink=sink) for sink in ("clickhouse", "kafka")]
    rig.expect(again == skipped and rig.text(daemon.log).count("SINK FAR BEHIND") == behind,
               "what was delivered before the start counts for no limit")
    daemon.stop_well("lag_limit")


def spoil(daemon, partition, which, block):
    """Turns some bytes of a block's payload over; which: segment, 0 is the oldest. Returns its range of offsets."""
    folder = f"{daemon.data}/journal/p{partition}"
    path = folder + "/" + sorted(name for name in os.listdir(folder) if name.endswith(".log"))[which]
    with open(path, "r+b", buffering=0) as f:
        at = 0
        for _ in range(block):
            f.seek(at + 108 - 4)  # block bytes with padding
            at += int.from_bytes(f.read(4), "little")
        f.seek(at + 88)
        first, records = int.from_bytes(f.read(8), "little"), int.from_bytes(f.read(4), "little")
        f.seek(at + 1024 + 20)
        byte = f.read(4)
        f.seek(at + 1024 + 20)
        f.write(bytes(b ^ 0x55 for b in byte))
        os.fsync(f.fileno())
    return first, first + records


def damage(rig, sender):
    """A block of an old, closed segment is spoilt while sluiced runs and a sink is behind it, and another one while
    it is down."""
    case = Case(rig, sender, "damage", {"segments_max": 64, "dedup_window": "10m"})
    daemon = case.daemon
    rig.expect(daemon.start(), "damage: sluiced runs")
    rig.clickhouse.kill()
    case.load(lambda: daemon.ctl("status")["journal"]["fullest_partition"] >= 3, 180, "several segments are held")
    low, high = spoil(daemon, 0, 0, 2)
    rig.clickhouse.start()
    case.load(lambda: total(daemon, "events") > 1000, 120, "new events reach ClickHouse")
    case.delivered()
    lost = case.check_gap("damage", damaged=True)
    journal = daemon.ctl("status")["journal"]
    rig.expect(lost == high - low == journal["damaged_records"] == metric(daemon, "sluice_partition_damaged_records"),
               f"exactly the {high - low} records of the block are lost, and said so: {lost}")
    rig.expect("DAMAGED BLOCK" in rig.text(daemon.log), "and in the log")
    rig.clickhouse.kill()
    before = daemon.ctl("status")["journal"]["fullest_partition"]
    case.load(lambda: daemon.ctl("status")["journal"]["fullest_partition"] >= before + 4, 180, "more segments are held")
    position = {s["partition"]: s["position"] for s in sink_rows(daemon)}
    daemon.kill()
    more = passed = 0
    for partition in range(2):
        low, high = spoil(daemon, partition, -4, 3)  # the last one is being prepared, the one before written to
        more += high - low
        passed += max(0, high - max(low, position[partition]))
        for name in os.listdir(f"{daemon.data}/journal/p{partition}"):  # so that the start reads the segments
            if name.endswith(".ids"):
                os.unlink(f"{daemon.data}/journal/p{partition}/{name}")
    rig.expect(daemon.start(), "a start with damaged blocks in closed segments")
    rig.expect(daemon.ctl("status")["journal"]["damaged_records"] == lost + more, "which it has found and counted")
    rig.clickhouse.start()
    case.delivered()
    skipped = case.check_gap("damage at a start", damaged=True) - lost
    # A range that was sent without an answer and has the damage in it goes as a whole.
    whole = "cannot be read any more: it is skipped" in rig.text(daemon.log)
    rig.expect(passed and (skipped > passed if whole else skipped == passed),
               f"of {more} more records that are lost {passed} were still to be delivered; {skipped} are skipped")
    daemon.stop_well("damage")


def own_mounts():
    """What is mounted from now on is seen by this process and its children alone, and goes with them."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or subprocess.run(["mount", "--make-rprivate", "/"], check=False).returncode:
        skip("no mount namespace of its own can be made")


def fill(path):
    """To the last block. Whether none is free then: checkpoints come and go all the time."""
    with open(path, "ab", buffering=0) as out:
        try:
            while True:
                out.write(b"x" * 65536)
        except OSError:
            pass
        try:
            while True:
                out.write(b"x" * 4096)
        except OSError:
            pass
    return os.statvfs(path).f_bavail == 0


def disk_full(rig, sender):
    own_mounts()
    disk = rig.path("disk")
    os.mkdir(disk)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "sluice", disk], check=False).returncode:
        skip("no tmpfs can be mounted")
    case = Case(rig, sender, "disk", {"segments_max": 200, "reserve": "32MiB"}, data=disk + "/data")
    daemon, ballast, spare = case.daemon, disk + "/ballast", disk + "/spare"
    with open(spare, "wb") as out:
        out.write(b"x" * (20 << 20))
    rig.expect(daemon.start(), "full disk: sluiced runs")
    case.load(lambda: daemon.counter("journaled") > 3000, 60, "traffic before the outage")
    rig.clickhouse.kill()
    case.load(lambda: daemon.drops().get("journal_full", 0) > 1000 and
              daemon.ctl("status")["journal"]["disk_full"] == 2, 180, "ClickHouse away until the disk is full")
    rig.expect(wait_until(lambda: fill(ballast), 20, "a full disk"), "not a block is free")

    def said():
        return metric(daemon, "sluice_partition_disk_full") == 2 and "DISK FULL" in rig.text(daemon.log) and re.search(
            r"JOURNAL FULL: the disk has no room for a further segment, and clickhouse holds all \d+, ",
            rig.text(daemon.log))

    said_all = wait_until(said, 30, "words on the full disk")
    journal = daemon.ctl("status")["journal"]
    rig.expect(said_all and journal["disk_full"] == 2, f"said in the log, as a metric and in status {journal}")
    rig.expect(wait_until(lambda: metric(daemon, "sluice_sink_lag_alarm") >= 2, 60, "the alarm"),
               "and the sink that holds the segments is named, though these are far from segments_max")
    rig.expect(daemon.ctl("checkpoint", "now") is not None, "a checkpoint is made on the full disk")
    rig.expect(daemon.drops().get("journal_full", 0) > 1000 and daemon.alive(), "what does not fit is counted")
    daemon.kill()
    rig.expect(daemon.start(), "kill -9 on the full disk, and up again")
    rig.clickhouse.start()
    case.delivered()
    daemon.expect_balanced("drained on the full disk")
    dropped = daemon.drops().get("journal_full", 0)
    case.load(lambda: daemon.counter("journaled") > 20000, 60, "on the full disk it takes events again by itself")
    case.delivered()
    rig.expect(daemon.drops().get("journal_full", 0) == dropped, "without dropping any more")
    failures = metric(daemon, "sluice_state_checkpoint_failures_total")
    rig.expect(failures == 0, f"no checkpoint has failed ({failures:.0f})")
    rig.expect(not metric(daemon, "sluice_state_failed"), "the state stage runs")
    daemon.stop_well("a stop on the full disk")
    rig.expect(daemon.start(), "a start on the full disk")
    os.unlink(ballast)
    os.unlink(spare)
    rig.expect(wait_until(lambda: daemon.ctl("status")["journal"]["reserve_missing"] == 0, 90, "the reserve"),
               "with room again the reserve is whole again")
    rig.clickhouse.freeze()
    used = daemon.ctl("status")["journal"]["segments_used"]
    case.load(lambda: daemon.ctl("status")["journal"]["segments_used"] > used, 120, "and new segments are made")
    rig.clickhouse.thaw()
    case.delivered()
    rows = case.addresses()
    rig.expect(len(rows) == len(set(rows)), f"no event is twice in {len(rows)} rows")
    daemon.stop_well("full disk")


def main():
    with Rig(sys.argv[1], kafka=1, clickhouse=True, root=True) as rig:
        sender = Sender(rig)
        for case in (drop_old, lag_limit, damage, disk_full):
            if len(sys.argv) < 3 or case.__name__ in sys.argv[2:]:
                say(f"---- {case.__name__}")
                case(rig, sender)
    rig.done()


main()
