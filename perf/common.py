"""What the measuring scripts share: CPU time of processes and of the machine, topics written and read by kcat, files of
events for bench_windows and its peer, its runs."""
import collections
import json
import os
import random
import socket
import struct
import subprocess
import sys

START_MS = 1792000000000
PARTITIONS = 4


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def worker_seconds(pid):
    """CPU time of the RX workers' threads."""
    total, base = 0, f"/proc/{pid}/task"
    for tid in os.listdir(base):
        with open(f"{base}/{tid}/stat", encoding="utf-8") as f:
            head, fields = f.read().rsplit(")", 1)
        fields = fields.split()
        if "(rte-worker" in head or "(lcore-worker" in head:
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


class Control:
    """The control socket, over one connection: a process for each look would cost more than what is looked at."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("rwb")

    def call(self, command):
        """The command's result, None if it failed."""
        self.file.write(json.dumps({"v": 1, "cmd": command, "args": {}}).encode() + b"\n")
        self.file.flush()
        return json.loads(self.file.readline()).get("result")


def threads_cpu(pid):
    """CPU seconds of a process by its threads' names without numbers."""
    sums = collections.Counter()
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/comm", encoding="ascii") as f:
                name = f.read().strip().rstrip("0123456789-/#").split(":")[0]
            sums[name] += cpu_seconds(f"{pid}/task/{thread}")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
    return sums


def machine_seconds():
    """Of all cores: what they did, what of that the kernel did on receipt (nobody's own time), what they did not do."""
    with open("/proc/stat", encoding="ascii") as f:
        user, nice, system, idle, iowait, irq, softirq, steal = (int(n) for n in f.readline().split()[1:9])
    ticks = {"busy": user + nice + system + irq + softirq + steal, "softirq": softirq, "idle": idle + iowait}
    return {name: n / os.sysconf("SC_CLK_TCK") for name, n in ticks.items()}


def topic_fill(brokers, topic, lines):
    """A message each line of the file."""
    subprocess.run(["kcat", "-P", "-b", brokers, "-t", topic, "-z", "lz4", "-X", "linger.ms=50", "-l", lines],
                   check=True, timeout=600)


def topic_lines(brokers, topic):
    """What a read-committed reader finds there, as bytes, a line each."""
    reader = subprocess.Popen(["kcat", "-b", brokers, "-X", "isolation.level=read_committed", "-C", "-t", topic, "-e",
                               "-q"], stdout=subprocess.PIPE)
    yield from reader.stdout
    if reader.wait():
        sys.exit(f"{topic} cannot be read")


def write_events(path, events, keys, per_ms, spread=1, late=0.0, late_by=0, users=0):
    """per_ms events a millisecond of event time, out of order by up to spread - 1 ms; a share `late` of them by up to
    late_by ms more. Keys are users; with users > 0 keys are pages, each seen by so many users, and values differ."""
    rng = random.Random(7)
    texts = struct.Struct("<H")

    def text(value):
        raw = value.encode()
        return texts.pack(len(raw)) + raw

    page, rest = text("/p"), text("US") + text("web") + text("click")
    with open(path, "wb") as f:
        for i in range(events):
            ts = START_MS + i // per_ms - rng.randrange(spread)
            amount, key, value, user = rng.randrange(10 ** 9), rng.randrange(keys), 1.0, None
            if users:
                key, value = i % keys, 1 + rng.random() / 5  # each key has as many events as another
                user, page = text(f"u{rng.randrange(users)}"), text(f"/p{key}")
            if late and rng.random() < late:
                ts -= rng.randrange(late_by)
            f.write(struct.pack("<qqqd", ts, i, amount, value) + (user or text(f"u{key}")) + page + rest)


def bench_windows(build, path, windows, bound_ms, *more, partitions=PARTITIONS):
    """One run of perf/bench_windows over such a file; windows: definitions as YAML. Its line as a dict."""
    out = subprocess.run([os.path.join(build, "perf", "bench_windows"), path, f"windows: [{windows}]", str(partitions),
                          str(bound_ms), *more], capture_output=True, text=True, check=False)
    if out.returncode:
        sys.exit(out.stderr)
    return dict(pair.split("=") for pair in out.stdout.split())
