"""Transactions that must be aborted: messages that a broker refuses, a transaction that the broker has timed out. After
each the journal is read again from the committed position, and Kafka holds every record once. One broker."""
import os
import re
import signal
import time

from kafka_rig import LIMIT, Rig
from raw_batch import Transactions, stopped_within


def refused_batches(rig):
    """The topic takes small batches only, for a while: whole transactions fail, again and again."""
    child = rig.start("refused", 10 ** 9, rate=4000)
    rig.wait_log("refused", "position=0")
    time.sleep(1)
    transactions = Transactions(rig, "refused.click")
    for limit in ("400", "30000"):
        seen = rig.log("refused").count("aborted in a row")
        rig.topic_config("refused.click", f"max.message.bytes={limit}")
        rig.wait_log("refused", "messages not delivered")
        passed = transactions.look().commits + 1000  # once the backlog is small, all batches may be small enough
        rig.wait(lambda: rig.log("refused").count("aborted in a row") > seen or transactions.look().commits > passed)
        rig.topic_config("refused.click", "max.message.bytes=1048588")
        time.sleep(2)
    child.terminate()
    rig.expect(child.wait(LIMIT) == 0, "all is delivered once the broker takes the messages again")
    rig.compare("refused", "after aborted transactions")
    rig.expect("aborted in a row" in rig.log("refused"), "also after a new producer was made")


def timed_out(rig):
    """We stand still for longer than the transaction may last: the broker aborts it and raises the epoch."""
    child, hits = rig.start("stood", 10 ** 9, rate=4000), 0
    rig.wait_log("stood", "position=0")
    transactions = Transactions(rig, "stood.click")
    for _ in range(10):
        time.sleep(rig.random.uniform(0.5, 1.5))
        hits += stopped_within(child, transactions)
        before = transactions.look().commits
        child.send_signal(signal.SIGCONT)
        rig.expect(rig.wait(lambda: transactions.look().commits > before), "it goes on")
        if hits >= 2:
            break
    rig.expect(hits >= 2, f"it stood still within a transaction, {hits} times")
    child.terminate()
    rig.expect(child.wait(LIMIT) == 0, "all is delivered after the broker has timed a transaction out")
    rig.compare("stood", "after transactions that the broker aborted")
    rig.expect("left open is aborted in partitions=" in rig.log("stood"),
               "what transactions may have left open whose end was not known is aborted")


def frozen(rig):
    """The broker stands still for longer than messages may wait: they fail, while the transaction is open."""
    child = rig.start("slow", 10 ** 9, rate=4000)
    rig.wait_log("slow", "position=0")
    time.sleep(1)
    rig.cluster("freeze", "1")
    rig.wait_log("slow", "messages not delivered")
    time.sleep(3)
    rig.cluster("thaw", "1")
    time.sleep(3)
    child.terminate()
    rig.expect(child.wait(LIMIT) == 0, "all is delivered after the broker has stood still")
    rig.compare("slow", "after messages that timed out")


def lose_position(rig, child):
    """The position of partition 1 is deleted while the sink stands still within a transaction, which the broker times
    out. Whoever stands still between two transactions is not fenced, and writes its position again: False."""
    # Stopped first: kcat would never see the end of a topic that is being written.
    if not stopped_within(child, Transactions(rig, "lost.click")):
        child.send_signal(signal.SIGCONT)
        return False
    keys = rig.kcat("-C", "-t", "lost.positions", "-p", "0", "-e", "-q", "-f", "%k\n").stdout.decode().splitlines()
    key = [line for line in keys if line.startswith("kafka/") and line.endswith("/1")][-1]
    rig.kcat("-P", "-t", "lost.positions", "-p", "0", "-K", "|", "-Z", data=f"{key}|\n".encode())
    child.send_signal(signal.SIGCONT)
    return rig.wait(lambda: "was delivered before" in rig.log("lost"), 20)


def lost_positions(rig):
    """The positions are gone while we run (deleted by key), and the producer is fenced so that it reads them again."""
    child = rig.start("lost", 10 ** 9, rate=2000)
    rig.wait_log("lost", "position=0")
    floor = os.path.join(rig.dir, "lost", "journal", "kafka-p1.floor")
    rig.expect(rig.wait(lambda: os.path.exists(floor)), "something was delivered")
    for _ in range(10):
        time.sleep(rig.random.uniform(0.5, 1.5))
        if lose_position(rig, child):
            break
    child.terminate()
    rig.expect(child.wait(LIMIT) == 3, "positions lost while running: refused, not sent again")
    parts = re.findall(r"partition=(\d) position=(\d+) durable=(\d+) ", rig.log("lost"))
    rig.expect([p for p, position, durable in parts if position != durable] == ["1"], "the others go on")
    # Nor after a restart, though the journal still has its beginning: the floor beside it knows better.
    rig.expect(rig.feed("lost", 0) == 3, "positions lost, then a restart: refused, not sent again")
    rig.expect("was delivered before: the topic has lost it" in rig.log("lost"), "the refusal says why")


os.environ["RIG_TX_TIMEOUT_MS"] = "10000"
with Rig(1, 21291) as rig:
    refused_batches(rig)
    timed_out(rig)
    frozen(rig)
    lost_positions(rig)
rig.done()
