"""A broker that has ended a transaction without a marker in a partition that has a record of it, which was seen once:
the record stays open there under the producer's id. Here one is put there while the producer stands still and is
fenced. The commits that follow under that id must not make it visible, and it must not hold readers back. One broker,
which takes records of partitions that its coordinator knows nothing of."""
import os
import signal
import time

from kafka_rig import LIMIT, Rig
from raw_batch import Transactions, batches, produce, stopped_within

LEFT = b"left open"


def alerts(rig):
    return batches(os.path.join(rig.dir, "kafka", "log1", "left.alerts-0"))


def aborted(rig):
    """The last producer of alerts whose transaction the broker has aborted: its id, and the epoch that is open."""
    found = [b for b in alerts(rig) if b.control and not b.commit and b.epoch > 0]
    return found[-1] if found else None


def fenced(rig, child):
    """Stops the producer in a transaction that has alerts: the broker aborts what has timed out, and raises the epoch.
    Where it stood between two transactions, nothing is aborted: it is tried again."""
    transactions = Transactions(rig, "left.alerts", 0)
    for _ in range(20):
        producer = aborted(rig) if stopped_within(child, transactions) else None
        if producer:
            return producer
        child.send_signal(signal.SIGCONT)
        time.sleep(rig.random.uniform(0.5, 2))
    raise RuntimeError("the broker has not aborted a transaction of the producer that stands still")


def ends_after(rig, pid, offset):
    return [b for b in alerts(rig) if b.pid == pid and b.offset > offset and b.control]


def main(rig):
    child = rig.start("left", 10 ** 9, rate=4000)
    rig.wait_log("left", "position=0")
    time.sleep(2)
    producer = fenced(rig, child)
    error, offset = produce(rig.port + 1, "left.alerts", 0, "sluice/left", producer.pid, producer.epoch,
                            int(time.time() * 1000), LEFT)
    rig.expect(error == 0, f"a record is open under producer {producer.pid}, epoch {producer.epoch} (offset {offset})")
    child.send_signal(signal.SIGCONT)
    rig.wait(lambda: any(b.commit for b in ends_after(rig, producer.pid, offset)), 60)
    child.terminate()
    rig.expect(child.wait(LIMIT) == 0, "all is delivered")
    rig.compare("left", "beside a record that was left open")
    ends = ends_after(rig, producer.pid, offset)
    rig.expect(ends and not ends[0].commit and any(b.commit for b in ends),
               "it was aborted, and then transactions of that producer were committed")
    everything = rig.kcat("-C", "-t", "left.alerts", "-p", "0", "-e", "-q", "-X", "isolation.level=read_uncommitted")
    rig.expect(everything.stdout.count(LEFT) == 1, "readers of what is not committed see it, once")


os.environ["RIG_TX_TIMEOUT_MS"] = "10000"
os.environ["SLUICE_KAFKA_MORE"] = "transaction.partition.verification.enable=false"
with Rig(1, 21491) as rig:
    main(rig)
rig.done()
