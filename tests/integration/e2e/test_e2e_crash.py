"""kill -9 of sluiced at every durable step and at random, with both sinks on, 4 partitions, 2 workers.

Files: each crash is followed by a run that replays the crashed input in full, and new events; in the end everything is
replayed once more. Shown: no event is missing, none is twice, in the journal and in both sinks.
Live: traffic goes on while sluiced is down. Shown: each journaled id is in every sink exactly once; what is not in the
journal was sent while sluiced was down or was on its way when it was killed (losses.py), and is counted.
Recycling: small segments, short memory of ids, a kill while a segment is reused. Shown: journal = Kafka = ClickHouse,
and Kafka = ClickHouse below what the journal still has."""
import os
import sys

from chaos import ALL_POINTS, CLICKHOUSE_POINTS, KAFKA_POINTS, Killer, pause
from daemon import UDP_PORT, Daemon, file_ports
from losses import Losses
from netns import Sender
from rig import Rig, say, wait_until

EVENTS = 12000  # of a file
MIX = dict(events_per_datagram=4, dup_permille=20, fraud_permille=30, escape_permille=20, utf8_permille=20,
           extra_permille=20, disorder_ms=1000, flows=16)
# malformed events that keep their ids, so that each of them can be told apart
BAD_WITH_ID = "trailing_comma,invalid_byte,past,future,key_twice,deep,time_text"
FILE_RANDOM, LIVE_RANDOM = 3, 6
LIVE_POINTS = ("journal_block_built", "journal_write_submitted", "journal_write_completed", "journal_mark_written",
               "kafka_before_commit", "ch_sent")


def concat(rig, name, parts):
    """One capture file of several."""
    with open(rig.path(name), "wb") as out:
        for i, part in enumerate(parts):
            with open(rig.path(part), "rb") as f:
                out.write(f.read()[24 if i else 0:])
    return rig.path(name)


def concat_text(rig, name, parts):
    with open(rig.path(name), "wb") as out:
        for part in parts:
            with open(rig.path(part), "rb") as f:
                out.write(f.read())


class Files:
    """Pairs of capture files, one pair an incarnation, for two ports."""

    def __init__(self, rig, events=EVENTS):
        self.rig, self.events, self.pairs = rig, events, []

    def more(self):
        n = len(self.pairs)
        for side in "ab":
            self.rig.gen_run(f"{side}{n}", pcap=self.rig.path(f"{side}{n}.pcap"), count=self.events,
                             seed=self.rig.seed + 2 * n + (side == "b"), **MIX)
        self.pairs.append((f"a{n}.pcap", f"b{n}.pcap"))

    def ports(self, last):
        """Ports that play the last pairs, one behind the other."""
        pairs = self.pairs[-last:]
        return file_ports(*(concat(self.rig, f"play{k}.pcap", [pair[k] for pair in pairs]) for k in (0, 1)))

    def truth(self):
        concat_text(self.rig, "files.truth", [f"{s}{n}.truth" for n in range(len(self.pairs)) for s in "ab"])
        return "files.truth"


# Passed only when a journal is made, and when its lanes get their first positions: first, and in this order.
FIRST_POINTS = ("journal_meta_renamed", "kafka_split")


def missed_sink_points(kills):
    return sorted((set(KAFKA_POINTS) | set(CLICKHOUSE_POINTS)) - {k.plan.split(":")[0] for k in kills if k.reached})


def files_phase(rig):
    daemon, files = Daemon(rig, "files", []), Files(rig)
    killer = Killer(rig, daemon)
    plans = killer.plan_points(ALL_POINTS) + ["random"] * FILE_RANDOM
    first = [plan for plan in plans if plan.split(":")[0] in FIRST_POINTS]
    plans = [plan for plan in plans if plan not in first]
    rig.random.shuffle(plans)
    for plan in [*first, *plans]:
        files.more()
        daemon.config["ports"] = files.ports(2)
        killer.run(plan, limit=90 if plan in first else 8)  # what is missed at first does not come again
    for name in missed_sink_points(killer.kills):  # a busy machine may be too slow for a late pass
        files.more()
        daemon.config["ports"] = files.ports(2)
        killer.run(f"{name}:1", limit=90)
    daemon.config["ports"] = files.ports(len(files.pairs))
    rig.expect(killer.start() and daemon.wait_input_ended(), "everything is replayed once more")
    rig.expect(daemon.wait_quiet() and daemon.drain(), "and delivered")
    daemon.expect_balanced("after the crashes")
    daemon.stop_well("files")
    rig.verify(daemon, f"{len(killer.kills)} kills, {len(killer.reached())} at a named step, files",
               truth=files.truth())
    return killer


def live_phase(rig):
    sender = Sender(rig)
    daemon = Daemon(rig, "live", sender.af_packet(2))
    killer = Killer(rig, daemon)
    plans = killer.plan_points({p: ALL_POINTS[p] * 4 for p in LIVE_POINTS}) + ["random"] * LIVE_RANDOM
    rig.random.shuffle(plans)
    rig.expect(killer.start(), "live: sluiced runs before the traffic begins")
    gen = sender.gen("live", 4, UDP_PORT, rate=4000, seed=rig.seed, **MIX, bad_permille=20, bad_kinds=BAD_WITH_ID)
    rig.expect(wait_until(lambda: daemon.counter("events") > 2000, 60, "live traffic"), "live traffic arrives")
    killer.strike("random")
    for plan in plans:
        killer.run(plan)
    rig.expect(killer.start(), "live: up after the last kill")
    pause(rig, 1, 2)
    rig.gen_stop("live", gen)
    rig.expect(daemon.wait_quiet() and daemon.drain(), "live: delivered")
    daemon.expect_balanced("live")
    daemon.expect_no_kernel_drops()
    daemon.stop_well("live")
    rig.verify(daemon, f"{len(killer.kills)} kills, {len(killer.reached())} at a named step, live", "--missing-ok",
               "--missing-list", rig.path("live.missing"), truth="live.truth")
    Losses(rig, daemon, "live", MIX["flows"], killer.kills).check()
    return killer


def recycle_phase(rig):
    daemon = Daemon(rig, "recycle", [], journal={"dedup_window": "500ms", "segments_max": 5})
    killer, files = Killer(rig, daemon), Files(rig, 6 * EVENTS)
    files.more()
    daemon.config["ports"] = files.ports(1)
    rig.expect(killer.start() and daemon.wait_input_ended() and daemon.drain(),
               "recycled: segments that nobody needs any more")
    killer.strike("random")
    for plan in ("journal_segment_recycled:1", "journal_segment_recycled:3"):
        files.more()
        daemon.config["ports"] = files.ports(1)
        killer.run(plan, limit=120)
    files.more()
    daemon.config["ports"] = files.ports(1)
    rig.expect(killer.start() and daemon.wait_input_ended() and daemon.wait_quiet() and daemon.drain(),
               "recycled: delivered")
    daemon.stop_well("recycled")
    rig.expect(len(killer.reached()) == 2, "both kills came while a segment was being reused")
    text = rig.verify(daemon, "segments were reused, journal = Kafka = ClickHouse")
    rig.expect("begins at offset" in text, "and the journal's beginning has been removed")
    return killer


with Rig(sys.argv[1], kafka=3, clickhouse=True) as rig:
    kills = files_phase(rig).kills[:]
    kills += recycle_phase(rig).kills
    if os.geteuid() == 0:
        kills += live_phase(rig).kills
    else:
        say("live traffic left out: needs root")
    rig.expect(len(kills) >= 20, f"{len(kills)} kills in all")
    rig.expect(not missed_sink_points(kills), "every step of the sinks was the place of a kill, but: "
               f"{missed_sink_points(kills) or 'none'}")
rig.done()
