"""Kills and faults for as long as you like: the crash and fault machinery of this folder, round after round.

torture.py [--build DIR] [--kills N] [--minutes M] [--seed S] [--kills-per-round K] [--rate N] [--no-disk]
[--no-garbage]

A round = fresh servers (3 brokers, ClickHouse), live traffic, K kills of sluiced at random steps or times, among them
faults of the servers; then a clean stop, and journal = Kafka = ClickHouse by id, losses only while sluiced was down.
Before the rounds: garbage for 60 s, and a disk that is nearly full. Ends at the first round that fails, exit code 1.
Needs root."""
import argparse
import os
import re
import subprocess
import sys
import threading
import time

from chaos import ALL_POINTS, Killer, pause
from daemon import UDP_PORT, Daemon, file_ports
from janitor import janitor_note
from losses import Losses
from netns import Sender
from rig import SOURCE, Rig, say, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
MIX = dict(events_per_datagram=4, dup_permille=20, fraud_permille=30, escape_permille=20, utf8_permille=20,
           extra_permille=20, disorder_ms=1000, flows=16, bad_permille=20,
           bad_kinds="trailing_comma,invalid_byte,past,future,key_twice,deep,time_text")


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(SOURCE, "build"), help="build directory")
    parser.add_argument("--kills", type=int, default=200, help="kills of sluiced in all")
    parser.add_argument("--minutes", type=float, default=0, help="end then though kills are left; 0 = no limit")
    parser.add_argument("--seed", type=int, default=0, help="0 = a new one")
    parser.add_argument("--kills-per-round", type=int, default=25)
    parser.add_argument("--rate", type=int, default=4000, help="events a second")
    parser.add_argument("--no-disk", action="store_true", help="leave out the nearly full disk")
    parser.add_argument("--no-garbage", action="store_true", help="leave out the garbage")
    return parser.parse_args()


class Faults(threading.Thread):
    """One fault of a server after the other, until told to end; everything is up again then."""

    def __init__(self, rig):
        super().__init__(daemon=True)
        self.rig, self.ending, self.count, self.error = rig, threading.Event(), 0, None
        self.random = type(rig.random)(rig.seed + 1)

    def sleep(self, least, most):
        self.ending.wait(self.random.uniform(least, most))

    def broker(self, kafka):
        n = self.random.choice(list(kafka.all))
        how = self.random.choice(("kill", "freeze", "terminate"))
        say(f"fault: broker {n}: {how}")
        getattr(kafka, how)(n)
        self.sleep(1, 10)
        if how == "freeze":
            kafka.thaw(n)
        else:
            kafka.up(n)

    def clickhouse(self, server):
        how = self.random.choice(("kill", "freeze", "terminate"))
        say(f"fault: ClickHouse: {how}")
        getattr(server, how)()
        self.sleep(0.5, 8)
        if how == "freeze":
            server.thaw()
        else:
            server.start()

    def run(self):
        try:
            while not self.ending.is_set():
                self.sleep(3, 15)
                if self.ending.is_set():
                    break
                self.count += 1
                if self.random.random() < 0.5:
                    self.broker(self.rig.kafka)
                else:
                    self.clickhouse(self.rig.clickhouse)
        except (RuntimeError, OSError, subprocess.SubprocessError) as e:
            self.error = e

    def end(self):
        self.ending.set()
        self.join(120)
        self.rig.expect(self.error is None and not self.is_alive(),
                        f"{self.count} faults of servers {self.error or ''}")


def kill_plans(rig, killer, count):
    names = list(ALL_POINTS)
    for _ in range(count):
        if rig.random.random() < 0.5:
            yield "random"
        else:
            name = rig.random.choice(names)
            most = ALL_POINTS[name]
            yield f"{name}:{rig.random.randint(1, most * 3 if most > 1 else 1)}"


def one_round(rig, rate, kills, until):
    """Returns the kills of this round."""
    sender = Sender(rig)
    daemon = Daemon(rig, "torture", sender.af_packet(2))
    killer = Killer(rig, daemon)
    if not rig.expect(killer.start(), "sluiced runs"):
        return killer.kills
    gen = sender.gen("torture", 4, UDP_PORT, rate=rate, seed=rig.seed, **MIX)
    wait_until(lambda: daemon.counter("events") > 0, 30, "live traffic")
    faults = Faults(rig)
    faults.start()
    killer.strike("random")
    for plan in kill_plans(rig, killer, kills - 1):
        if time.monotonic() > until or rig.failures:
            break
        killer.run(plan)
    faults.end()
    rig.expect(killer.start(), "up after the last kill")
    pause(rig, 1, 2)
    rig.gen_stop("torture", gen)
    rig.expect(daemon.wait_quiet(120) and daemon.drain(300), "everything is delivered")
    daemon.expect_balanced("after the round")
    daemon.expect_no_kernel_drops()
    daemon.stop_well("round")
    rig.verify(daemon, "exactly once", "--missing-ok", "--missing-list", rig.path("torture.missing"),
               truth="torture.truth")
    Losses(rig, daemon, "torture", MIX["flows"], killer.kills).check()
    return killer.kills


def disk_full(build, seed):
    """A disk with room for some segments only, while Kafka is frozen: what does not fit is counted as journal_full,
    the daemon lives on; when Kafka is back what is delivered makes room at once, although ids are to be remembered
    for hours."""
    with Rig(build, kafka=3, clickhouse=True, seed=seed, root=True) as rig:
        disk = rig.path("disk")
        os.mkdir(disk)
        janitor_note(rig.dir, "mount", disk)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=72m", "tmpfs", disk], check=True)
        rig.closers.append(lambda: subprocess.run(["umount", "-l", disk], check=False))
        for name, count in (("fill", 400000), ("more", 30000)):
            rig.gen_run(name, pcap=rig.path(name + ".pcap"), count=count, events_per_datagram=6, seed=rig.seed + count)
        daemon = Daemon(rig, "disk", file_ports(rig.path("fill.pcap")), workers=1, data=os.path.join(disk, "data"),
                        journal={"segments_max": 64})
        for n in rig.kafka.all:
            rig.kafka.freeze(n)
        rig.expect(daemon.start(), "sluiced runs on a small disk, with Kafka frozen")
        rig.expect(daemon.wait_input_ended(), "the input is read to its end although the disk is full")
        rig.expect(daemon.wait_quiet(), "the disk is full, the ledger's inner equations balance")
        lost, kept = daemon.drops().get("journal_full", 0), daemon.counter("journaled")
        rig.expect(lost > 0 and lost + kept == 400000, f"{kept} events journaled, {lost} dropped as journal_full")
        for n in rig.kafka.all:
            rig.kafka.thaw(n)
        rig.expect(daemon.drain(120), "what was journaled is delivered when Kafka is back")
        daemon.expect_balanced("drained")
        daemon.stop_well("full disk")
        # the journal's beginning has made room for its end: what was kept is counted where it was delivered to
        text = rig.verify(daemon, "journal = Kafka = ClickHouse after a full disk")
        for sink in ("kafka", "clickhouse"):
            row = sink + r" disk\.(?:clicks|platform|clicks_raw|events_raw) +(\d+)"
            rows = sum(int(n) for n in re.findall(row, text))
            rig.expect(rows == kept, f"{rows} events in {sink}, {kept} journaled")
        daemon.config["ports"] = file_ports(rig.path("more.pcap"))
        rig.expect(daemon.start() and daemon.wait_input_ended() and daemon.wait_quiet(), "more events come")
        rig.expect(daemon.counter("journaled") == 30000 and not daemon.drops(),
                   f"all are taken, drops: {daemon.drops()}")
        rig.expect(daemon.drain(120), "and delivered")
        daemon.stop_well("after the full disk")
        rig.verify(daemon, "still exactly once")
    return rig.failures


def main():
    o = options()
    seed = o.seed or int(time.time()) % 1000000
    until = time.monotonic() + o.minutes * 60 if o.minutes else float("inf")
    say(f"torture: {o.kills} kills, seed {seed}")
    failed, kills, rounds = 0, [], 0
    if not o.no_garbage:
        env = dict(os.environ, SLUICE_GARBAGE_SECONDS=os.environ.get("SLUICE_GARBAGE_SECONDS", "60"))
        failed += subprocess.run([sys.executable, os.path.join(HERE, "test_garbage.py"), o.build], env=env,
                                 check=False).returncode != 0
    if not o.no_disk and not failed:
        failed += disk_full(o.build, seed) != 0
    while len(kills) < o.kills and time.monotonic() < until and not failed:
        rounds += 1
        with Rig(o.build, kafka=3, clickhouse=True, seed=seed + rounds, root=True) as rig:
            kills += one_round(rig, o.rate, min(o.kills_per_round, o.kills - len(kills)), until)
        failed += rig.failures != 0
        say(f"round {rounds}: {len(kills)} kills so far, {sum(k.reached for k in kills)} at a named step: "
            f"{'FAILED, seed ' + str(seed + rounds) if rig.failures else 'exactly once'}")
    places = {}
    for kill in kills:
        place = kill.plan.split(":")[0] if kill.reached else "outside"
        places[place] = places.get(place, 0) + 1
    say(f"torture: {len(kills)} kills in {rounds} rounds, seed {seed}: {'FAILED' if failed else 'all exactly once'}")
    for place, count in sorted(places.items()):
        say(f"  {place}: {count}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
