"""What must be refused, what must not block, and what a position hidden by somebody's open transaction, or a fenced
zombie, must not break. One broker."""
import os
import shutil
import signal
import subprocess
import time

from kafka_rig import LIMIT, Rig

DEADLINE_S = 60  # within which a sink ends that must end after half a second or one


def newest_position(rig, journal, partition):
    """Key and text of the newest position of a partition."""
    rig.settled(f"{journal}.positions")
    out = rig.kcat("-C", "-t", f"{journal}.positions", "-p", "0", "-e", "-q", "-f", "%k|%s\n").stdout.decode()
    return [line.split("|") for line in out.splitlines() if line.startswith("kafka/") and f"/{partition}|" in line][-1]


def write_position(rig, journal, key, text):
    rig.kcat("-P", "-t", f"{journal}.positions", "-p", "0", "-K", "|", data=f"{key}|{text}\n".encode())


def refusals(rig):
    why = "kafka.replication is 3, but the cluster has only 1 live broker"
    child = rig.start("rf3", 10 ** 9, rate=100, rf=3, drain_ms=500)
    rig.wait(lambda: why in rig.log("rf3"))
    child.terminate()
    rig.expect(child.wait(LIMIT) == 3 and why in rig.log("rf3"),
               "too few brokers for the replication factor: refused, and the key is named")

    rig.feed("refuse", 2000)
    rig.compare("refuse", "before the positions are spoilt")
    key, good = newest_position(rig, "refuse", 1)
    for text, reason in (("sluice-position/1 next=99999999", "beyond the journal's durable end"),
                         ("sluice-position/3 next=1", "of a newer version"),
                         ("nonsense", "no position: write the right one behind it")):
        write_position(rig, "refuse", key, text)
        rc = rig.feed("refuse", 0)
        rig.expect(rc == 3 and reason in rig.log("refuse"), f"position '{text}': refused ({reason})")
    write_position(rig, "refuse", key, good)
    rig.expect(rig.feed("refuse", 500) == 0, f"position '{good}' again: delivery goes on")
    rig.compare("refuse", "after the position was corrected")


def no_broker(rig):
    began = time.monotonic()
    rc = rig.feed("nobody", 500, brokers="127.0.0.1:1", drain_ms=500)
    rig.expect(rc == 3 and time.monotonic() - began < DEADLINE_S, "dead broker: ends at the stop deadline")
    rc = rig.feed("nobody", 500)
    rig.expect(rc == 0, "the same journal with a live broker")
    rig.compare("nobody", "what was journaled without a broker")


def frozen_broker(rig):
    child = rig.start("frozen", 10 ** 9, rate=5000, drain_ms=1000)
    rig.wait_log("frozen", "position=0")
    time.sleep(1)
    rig.cluster("freeze", "1")
    time.sleep(1)
    child.terminate()
    try:
        rc = child.wait(DEADLINE_S)
    finally:
        rig.cluster("thaw", "1")
    rig.expect(rc == 3, f"frozen broker: ends at the stop deadline (rc {rc})")
    rig.expect(rig.feed("frozen", 0) == 0, "the rest is delivered after the broker has come back")
    rig.compare("frozen", "after a stop with a frozen broker")


def hidden_position(rig):
    """A stranger's open transaction on the positions topic hides the positions that are committed behind it."""
    rig.feed("hidden", 1000)
    hold = subprocess.Popen([os.path.join(rig.bin, "kafka_hold"), rig.brokers, "hidden.positions", "12000"],
                            stdout=subprocess.PIPE, text=True)
    rig.children.append(hold)
    rig.expect(hold.stdout.readline() == "holding\n", "a stranger holds a transaction open")
    child = rig.start("hidden", 0)  # waits for the barrier, hence until the stranger's transaction has ended
    time.sleep(1)
    rig.expect(child.poll() is None, "the position is not read past an open transaction")
    rig.expect(child.wait(LIMIT) == 0, "it is read when the transaction has timed out")
    hold.kill()
    hold.wait()

    # Positions committed behind the stranger's record, then a crash: read-committed readers see the old one only.
    said = rig.log("hidden").count("area=kafka msg=\"partition=")
    child = rig.start("hidden", 10 ** 9, rate=5000)
    rig.wait_log("hidden", "area=kafka msg=\"partition=", seen=said)
    hold = subprocess.Popen([os.path.join(rig.bin, "kafka_hold"), rig.brokers, "hidden.positions", "12000"],
                            stdout=subprocess.PIPE, text=True)
    rig.children.append(hold)
    rig.expect(hold.stdout.readline() == "holding\n", "a stranger holds a transaction open, while records flow")
    time.sleep(1.5)
    child.kill()
    child.wait()
    rig.expect(rig.feed("hidden", 1000) == 0, "delivery goes on after the crash")
    rig.compare("hidden", "with positions hidden at the restart")
    hold.kill()
    hold.wait()


def zombie(rig):
    """A frozen process, then a second one that delivers the same journal (a copy, since the first holds the lock),
    then both: the first is fenced, and reads the position."""
    child = rig.start("zombie", 10 ** 9, rate=5000)
    rig.wait_log("zombie", "position=0")
    time.sleep(1)
    child.send_signal(signal.SIGSTOP)
    shutil.copytree(os.path.join(rig.dir, "zombie"), os.path.join(rig.dir, "zombie@copy"))
    rig.expect(rig.feed("zombie@copy", "-") == 0, "the copy delivers what the frozen process had journaled")
    child.send_signal(signal.SIGCONT)
    rig.wait(lambda: "fenced" in rig.log("zombie").lower())
    child.terminate()
    rig.expect(child.wait(LIMIT) == 0, "the thawed process goes on from the position that the copy committed")
    rig.expect("fenced" in rig.log("zombie").lower(), "and was fenced before")
    rig.compare("zombie", "after a zombie")


with Rig(1, 22391) as rig:
    refusals(rig)
    no_broker(rig)
    frozen_broker(rig)
    hidden_position(rig)
    zombie(rig)
rig.done()
