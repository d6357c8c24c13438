"""The alerts' producers and positions: kill -9 at each step of their transactions, a journal that was delivered before
alerts had positions of their own, lost positions, and that alerts wait for no event. One broker."""
import glob
import os
import re
import signal
import time

from kafka_rig import LIMIT, Rig

POINTS = ["begun", "produced", "position", "before_commit", "committed"]
LANES = ("kafka", "kafka_alerts")


def positions(rig, journal):
    """Text of the newest position by key, those of barriers not."""
    rig.settled(f"{journal}.positions")
    out = rig.kcat("-C", "-t", f"{journal}.positions", "-p", "0", "-e", "-q", "-X", "isolation.level=read_committed",
                   "-f", "%k|%s\n").stdout.decode()
    newest = dict(line.split("|") for line in out.splitlines())
    return {key: text for key, text in newest.items() if not key.endswith("/barrier")}


def write(rig, journal, key, text):
    rig.kcat("-P", "-t", f"{journal}.positions", "-p", "0", "-K", "|", "-Z", data=f"{key}|{text}\n".encode())


def crashes(rig):
    for point in POINTS:
        # The barriers of four partitions pass the others, too.
        n = rig.random.randrange(3, 8) if point in ("produced", "position") else rig.random.randrange(9, 16)
        rc = rig.feed_until(f"kafka_alerts_{point}:{n}", "points")
        rig.expect(rc == -signal.SIGKILL, f"killed at kafka_alerts_{point}:{n} (rc {rc})")
    rig.expect(rig.feed("points", 0) == 0, "the rest is delivered after the last crash")
    rig.compare("points", "after a crash at each point")


def as_before(rig, journal):
    """What is left by the version whose main lane sent alerts, too: one position, of version 1, and its floor."""
    for key, text in positions(rig, journal).items():
        if key.startswith("kafka_alerts/"):
            write(rig, journal, key, "")
        else:
            write(rig, journal, key, text.replace("position/2", "position/1"))
    for path in glob.glob(os.path.join(rig.dir, journal, "journal", "kafka_alerts-p*.floor")):
        os.remove(path)


def taken_over(rig):
    rig.expect(rig.feed("old", 8000) == 0, "a journal is delivered")
    as_before(rig, "old")
    rc = rig.feed("old", 8000, brokers="127.0.0.1:1", drain_ms=500)
    rig.expect(rc == 3, "then as the version before has left it, and more is journaled")
    for point in ("split", "split_done", "split", "split_done"):
        rc = rig.feed("old", 0, crash=f"kafka_{point}:{rig.random.randrange(1, 3)}")
        rig.expect(rc == -signal.SIGKILL, f"killed at kafka_{point} (rc {rc})")
        if point == "split_done":
            break
    rig.expect(rig.feed("old", 3000) == 0, "the rest is delivered, with positions of their own")
    rig.compare("old", "taken over from the version before")
    newest = positions(rig, "old")
    rig.expect(len(newest) == 8 and all(text.startswith("sluice-position/2 ") for text in newest.values()),
               "each partition has a position of either lane, of version 2")
    # A step back to the version before, which goes on for a while, and forward again.
    stale = {key: text for key, text in newest.items() if key.startswith("kafka_alerts/")}
    rig.expect(rig.feed("old", 3000) == 0, "more is delivered")
    as_before(rig, "old")
    for key, text in stale.items():
        write(rig, "old", key, text)
    rig.expect(rig.feed("old", 3000) == 0, "taken over a second time")
    rig.compare("old", "taken over a second time, with old positions of alerts left")


def lost(rig):
    rig.expect(rig.feed("lost", 4000) == 0, "a journal is delivered")
    before = positions(rig, "lost")
    key = next(k for k in before if k.startswith("kafka_alerts/") and k.endswith("/2"))
    write(rig, "lost", key, "")
    for floor in (True, False):
        if not floor:
            os.remove(os.path.join(rig.dir, "lost", "journal", "kafka_alerts-p2.floor"))
        rig.expect(rig.feed("lost", 1000) == 3, f"lost, floor {floor}: refused, not sent again")
        left = re.findall(r"(kafka\S*) partition=(\d) position=(\d+) durable=(\d+) ", rig.log("lost"))[-8:]
        rig.expect([(lane, p) for lane, p, at, durable in left if at != durable] == [("kafka_alerts", "2")],
                   "all others go on")
    first = key.replace("kafka_alerts/", "kafka/")
    after = positions(rig, "lost")[first]
    write(rig, "lost", first, "sluice-position/9 next=1")
    rig.expect(rig.feed("lost", 0) == 3, "beside a position that cannot be read nothing begins anew")
    write(rig, "lost", first, after)
    said = re.findall(r"echo '(\S+)\|(sluice-position/2 next=\d+)'", rig.log("lost"))
    rig.expect((key, before[key]) in said, "the refusal by the floor says what to write")
    write(rig, "lost", key, before[key])
    rig.expect(rig.feed("lost", 1000) == 0, "it goes on from what was written")
    rig.compare("lost", "after a lost position")


def nothing_is_waited_for(rig):
    """Events are refused by the broker, again and again: alerts go on meanwhile."""
    child = rig.start("alone", 10 ** 9, rate=2000)
    for lane in LANES:
        rig.wait_log("alone", f"area={lane} msg=\"partition=0 position=0")
    topics = ("alone.alerts", "alone.platform")
    readers = [rig.follow(topic) for topic in topics]
    rig.topic_config("alone.click", "max.message.bytes=400")
    rig.wait_log("alone", "messages not delivered")

    # Readers that are late still get events from before: until one look finds few of these.
    until = time.monotonic() + 120
    while True:
        before = [rig.seen(topic) for topic in topics]
        rig.wait(lambda: rig.seen(topics[0]) - before[0] >= 2000, 60)
        after = [rig.seen(topic) for topic in topics]
        held_up = 10 * (after[1] - before[1]) < after[0] - before[0]
        if held_up or time.monotonic() > until:
            break
    rig.expect(after[0] - before[0] >= 2000, f"alerts go on: {before[0]}, then {after[0]}")
    rig.expect(held_up, f"while events do not: {before[1]}, then {after[1]}")
    for reader in readers:
        reader.kill()
        reader.wait()
    rig.topic_config("alone.click", "max.message.bytes=1048588")
    child.terminate()
    rig.expect(child.wait(LIMIT) == 0, "all is delivered once the broker takes the events again")
    rig.compare("alone", "after events were held up")


with Rig(1, 21591) as rig:
    crashes(rig)
    taken_over(rig)
    lost(rig)
    nothing_is_waited_for(rig)
rig.done()
