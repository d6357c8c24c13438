"""Drives the programs of this folder against real brokers. Everything that waits has a limit."""
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from raw_batch import Transactions

HERE = os.path.dirname(os.path.abspath(__file__))
CLUSTER = os.path.join(HERE, "..", "lib", "kafka_cluster.sh")
SKIP = 77
LIMIT = 300  # seconds that anything may take; a machine that is busy with something else is no fault


class Rig:
    """A cluster of its own, a scratch directory, and the built programs (argv[1] is their folder)."""

    def __init__(self, nodes, port):
        self.bin = sys.argv[1]
        self.seed = int(os.environ.get("SLUICE_TEST_SEED", "0")) or random.randrange(1 << 30)
        self.random = random.Random(self.seed)
        # Below the range of ephemeral ports: else somebody's outgoing connection may sit on a broker's port.
        self.nodes, self.port = nodes, int(os.environ.get("SLUICE_KAFKA_PORT", port))
        self.dir = tempfile.mkdtemp(prefix="sluice-kafka-")
        self.brokers = ",".join(f"127.0.0.1:{self.port + n}" for n in range(1, nodes + 1))
        self.children, self.failures = [], 0

    def __enter__(self):
        print(f"seed {self.seed}, {self.nodes} broker(s), {self.dir}", flush=True)
        rc = self.cluster("start", str(self.nodes), str(self.port), check=False)
        if rc:
            shutil.rmtree(self.dir, ignore_errors=True)
            sys.exit(SKIP if rc == SKIP else 1)
        return self

    def __exit__(self, kind, value, trace):
        for child in self.children:
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)
                child.kill()
                child.wait()
        self.cluster("stop", check=False)
        if kind is None and not self.failures:
            shutil.rmtree(self.dir, ignore_errors=True)
        else:
            print(f"left for inspection: {self.dir}", flush=True)

    def cluster(self, verb, *args, check=True):
        rc = subprocess.run([CLUSTER, verb, os.path.join(self.dir, "kafka"), *args], timeout=LIMIT).returncode
        if check and rc:
            raise RuntimeError(f"kafka_cluster.sh {verb} {args}: {rc}")
        return rc

    def start(self, journal, events, rate=0, drain_ms=180000, crash=None, brokers=None, rf=None):
        """kafka_feed in the background; its log goes to DIR/journal.log."""
        env = dict(os.environ)
        if crash:
            env["SLUICE_CRASH"] = crash
        log = open(os.path.join(self.dir, journal + ".log"), "ab")
        child = subprocess.Popen(
            [os.path.join(self.bin, "kafka_feed"), os.path.join(self.dir, journal), brokers or self.brokers,
             journal.split("@")[0], str(rf or min(self.nodes, 3)), str(events), str(rate), str(drain_ms)],
            stdout=log, stderr=log, env=env)
        log.close()
        self.children.append(child)
        return child

    def feed(self, journal, events, timeout=LIMIT, **more):
        child = self.start(journal, events, **more)
        return child.wait(timeout)

    def feed_until(self, crash, journal, **more):
        """Feeds until it is killed at that point: of a number of events a sink that starts late makes a few large
        transactions, and never comes to the point."""
        return self.feed(journal, 10 ** 9, rate=10000, crash=crash, **more)

    def log(self, journal):
        with open(os.path.join(self.dir, journal + ".log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait_log(self, journal, text, seconds=120, seen=0):
        """Until the text is in the log more than `seen` times."""
        if not self.wait(lambda: self.log(journal).count(text) > seen, seconds):
            self.expect(False, f"{journal}: no '{text}' in its log within {seconds} s")

    @staticmethod
    def wait(condition, seconds=120):
        """Whether it came true."""
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                return False
            time.sleep(0.1)
        return True

    def settled(self, topic):
        """Waits until no transaction is open in a topic (of a single broker): a commit is answered before its markers
        are written, and until then readers do not get what it committed."""
        transactions = Transactions(self, topic)
        settled = self.wait(lambda: not transactions.look().open)
        if not settled or not transactions.at:
            self.expect(False, f"{topic}: a transaction stays open, or there is no such topic")

    def expect(self, good, what):
        print(("ok: " if good else "FAILED: ") + what, flush=True)
        self.failures += not good

    def check(self, journal):
        return subprocess.run([os.path.join(self.bin, "kafka_check"), os.path.join(self.dir, journal), self.brokers,
                               journal.split("@")[0]], timeout=2 * LIMIT, capture_output=True, text=True).stdout

    def compare(self, journal, what):
        """The journal and Kafka hold the same, each record once."""
        out = subprocess.run([os.path.join(self.bin, "kafka_check"), os.path.join(self.dir, journal), self.brokers,
                              journal.split("@")[0]], timeout=2 * LIMIT, capture_output=True, text=True)
        if out.returncode:
            print(out.stdout + out.stderr)
        self.expect(out.returncode == 0, f"{what}: {out.stdout.strip().splitlines()[-1] if out.stdout else '?'}")

    def kcat(self, *args, data=None):
        return subprocess.run(["kcat", "-b", self.brokers, "-X", "log_level=0", *args], input=data, timeout=LIMIT,
                              capture_output=True)

    def follow(self, topic):
        """A consumer of committed records beside them that produce; seen() counts what it has got. A reader that waits
        for the end of a topic need never find it: there is always a next batch."""
        out = open(os.path.join(self.dir, topic + ".seen"), "wb")
        child = subprocess.Popen(["kcat", "-b", self.brokers, "-C", "-t", topic, "-u", "-q", "-X", "log_level=0", "-X",
                                  "isolation.level=read_committed", "-f", "\n"], stdout=out, stderr=subprocess.DEVNULL)
        out.close()
        self.children.append(child)
        return child

    def seen(self, topic):
        return os.path.getsize(os.path.join(self.dir, topic + ".seen"))

    def topic_config(self, topic, setting):
        """Sets key=value of a topic."""
        if self.cluster("config", topic, setting, check=False):
            self.expect(False, f"topic {topic}: {setting}")

    def done(self):
        sys.exit(1 if self.failures else 0)
