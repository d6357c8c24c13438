"""Load goes on while the servers fail: each broker killed, frozen for 10 s, restarted; ClickHouse the same; then both
away for 30 s; a clean stop and start in between. Shown: reception never stands still, no event is lost, and in the
end the journal, Kafka and ClickHouse are equal."""
import sys
import time

from daemon import UDP_PORT, Daemon
from netns import Sender
from rig import Rig, say, wait_until

RATE = 2000
MIX = dict(events_per_datagram=3, dup_permille=20, fraud_permille=30, escape_permille=20, extra_permille=20, flows=8)
FROZEN_S, AWAY_S = 10, 30


class Load:
    """Traffic, and the proof that it is being received: the counter of accepted events grows in every interval of 2 s
    in which frames come over the wire; on a busy machine the generator itself may get no core for that long, and
    twice in the whole test sluiced may have 3 s more."""

    def __init__(self, rig, daemon, sender):
        self.rig, self.daemon, self.stood, self.slow, self.looks = rig, daemon, 0, 0, 0
        self.frames = f"/sys/class/net/{sender.ours}/statistics/rx_packets"

    def look(self):
        with open(self.frames, encoding="ascii") as f:
            return int(f.read()), self.daemon.counter("accepted")

    def watch(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            before = self.look()
            time.sleep(2)
            now = self.look()
            self.looks += 1
            if now[1] <= before[1] and now[0] > before[0]:
                self.slow += 1
                self.stood += not wait_until(lambda: self.look()[1] > before[1], 3, "what it takes")


def broker_faults(rig, load):
    for n in rig.kafka.all:
        rig.kafka.kill(n)
        load.watch(3)
        rig.kafka.up(n)
        say(f"broker {n} killed and started")
        rig.kafka.freeze(n)
        load.watch(FROZEN_S)
        rig.kafka.thaw(n)
        say(f"broker {n} frozen and thawed")
        load.watch(2)
    rig.kafka.terminate(1)
    rig.kafka.up(1)
    say("broker 1 stopped in an orderly way and started")


def clickhouse_faults(rig, load):
    rig.clickhouse.kill()
    load.watch(3)
    rig.clickhouse.start()
    say("ClickHouse killed and started")
    rig.clickhouse.freeze()
    load.watch(FROZEN_S)
    rig.clickhouse.thaw()
    say("ClickHouse frozen and thawed")
    load.watch(2)
    rig.clickhouse.terminate()
    rig.clickhouse.start()
    say("ClickHouse stopped and started")


def lags(daemon):
    return {s["sink"]: s["lag_events"] for s in daemon.ctl("status")["sinks"]}


def both_away(rig, load):
    # after a start all of the journal counts as lag until a sink has found its position
    rig.expect(wait_until(lambda: max(lags(load.daemon).values()) < 5 * RATE * MIX["events_per_datagram"], 120,
                          "sinks that keep up"), "the sinks keep up before")
    for n in rig.kafka.all:
        rig.kafka.kill(n)
    rig.clickhouse.kill()
    load.watch(2)  # what was on its way has arrived, or never will
    lag = lags(load.daemon)
    load.watch(AWAY_S)
    grown = lags(load.daemon)
    # the output log is mostly marks, which need no server
    rig.expect(all(grown[s] > lag[s] for s in lag if not s.endswith("-output")),
               f"both away for {AWAY_S} s: lag grew from {lag} to {grown}")
    rig.expect(not load.daemon.drops().get("journal_full"), "and the journal took everything")
    rig.kafka.up()
    rig.clickhouse.start()


with Rig(sys.argv[1], kafka=3, clickhouse=True, root=True) as rig:
    sender = Sender(rig)
    daemon = Daemon(rig, "faults", sender.af_packet(2))
    rig.expect(daemon.start(), "sluiced runs")
    gen = sender.gen("first", 4, UDP_PORT, rate=RATE, seed=rig.seed, **MIX)
    rig.expect(wait_until(lambda: daemon.counter("events") > 1000, 60, "traffic"), "traffic arrives")
    load = Load(rig, daemon, sender)
    clickhouse_faults(rig, load)
    broker_faults(rig, load)
    sent = rig.gen_stop("first", gen).get("events", 0)
    rig.expect(wait_until(lambda: daemon.counter("events") >= sent, 90, "all that was sent"),
               f"{sent:.0f} events sent, {daemon.counter('events')} received")
    daemon.expect_no_kernel_drops()
    # brokers that have just come back may take longer than a stop waits
    rig.expect(daemon.drain(), "what was held back by the faults is delivered")
    daemon.stop_well("clean stop after the faults")
    rig.verify(daemon, "after the faults of each server, without a further run", truth="first.truth")

    rig.expect(daemon.start(), "started again")
    gen = sender.gen("second", 4, UDP_PORT, rate=RATE, seed=rig.seed + 1, **MIX)
    rig.expect(wait_until(lambda: daemon.counter("events") > 1000, 60, "traffic"), "traffic arrives again")
    both_away(rig, load)
    load.watch(2)
    sent = rig.gen_stop("second", gen).get("events", 0)
    rig.expect(wait_until(lambda: daemon.counter("events") >= sent, 90, "all that was sent"),
               f"{sent:.0f} events sent, {daemon.counter('events')} received")
    rig.expect(load.stood == 0 and load.slow <= 2,
               f"reception stood still in {load.stood} of {load.looks} intervals, and took longer in {load.slow}")
    rig.expect(daemon.wait_quiet() and daemon.drain(), "what was held back is delivered")
    daemon.expect_balanced("after the outage")
    daemon.expect_no_kernel_drops()
    daemon.stop_well("end")
    with open(rig.path("truth"), "wb") as out:
        for name in ("first.truth", "second.truth"):
            with open(rig.path(name), "rb") as f:
                out.write(f.read())
    rig.verify(daemon, "after both were away", truth="truth")
rig.done()
