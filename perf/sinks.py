"""What delivery alone costs, against real servers: sinks.py BUILD kafka|clickhouse [EVENTS] [ROUNDS]

A journal is filled once and then delivered again and again by the sinks' test programs (nothing is received meanwhile),
in turn by each way: Kafka exactly once and at least once; ClickHouse without compression, with lz4, with zstd. CPU is
that of the whole process (Kafka: librdkafka has threads of its own) or of the sink's threads, which do all of the
work (ClickHouse), less that of a run with nothing to deliver; the server has its own. Needs what the tests need."""
import glob
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
LIB = os.path.join(ROOT, "tests", "integration", "lib")
PORT = int(os.environ.get("SLUICE_PERF_PORT", "24700"))


def run(words, **env):
    """Seconds on the clock and of CPU, and the output."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=dict(os.environ, **env))
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{words}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def best(rows):
    """Of several rounds the least of each: what else runs on the machine only adds."""
    return min(wall for wall, _ in rows), min(cpu for _, cpu in rows)


def kafka(build, events, rounds, folder):
    feed = os.path.join(build, "tests", "integration", "kafka", "kafka_feed")
    brokers, data = f"127.0.0.1:{PORT + 1}", os.path.join(folder, "data")
    ways = {"exactly once": {}, "at least once": {"RIG_AT_LEAST_ONCE": "1"}}
    os.environ["RIG_TX_EVENTS"], os.environ["RIG_TX_AGE"] = "50000", "200"  # the configuration's defaults

    def deliver(prefix, **env):
        for floor in glob.glob(os.path.join(data, "journal", "*.floor")):
            os.unlink(floor)
        return run([feed, data, brokers, prefix, "1", "-", "0", "120000"], **env)

    subprocess.run([os.path.join(LIB, "kafka_cluster.sh"), "start", os.path.join(folder, "kafka"), "1", str(PORT)],
                   check=True)
    try:
        run([feed, data, brokers, "fill", "1", str(events), "0", "120000"])
        out = deliver("warm")[2]
        records = sum(int(n) for n in re.findall(r"kafka partition=\d+ position=(\d+)", out))
        rows = {way: [] for way in ways}
        for n in range(rounds):
            for way, env in ways.items():
                prefix = f"r{n}{way[0]}"
                wall, cpu, _ = deliver(prefix, **env)
                idle_wall, idle_cpu, _ = run([feed, data, brokers, prefix, "1", "-", "0", "120000"], **env)
                rows[way].append((wall - idle_wall, cpu - idle_cpu))
    finally:
        subprocess.run([os.path.join(LIB, "kafka_cluster.sh"), "stop", os.path.join(folder, "kafka")], check=False)
    for way in ways:
        wall, cpu = best(rows[way])
        print(f"kafka, {way}: {records / wall / 1000:.0f} K records/s, {cpu / records * 1e6:.2f} us CPU a record, "
              f"{cpu / records / 2 * 1e6:.2f} a message (each event goes to its topic and to the enriched one)")
    print(f"exactly once / at least once: {best(rows['at least once'])[0] / best(rows['exactly once'])[0]:.2f}")


def clickhouse(build, events, rounds, folder):
    sys.path.insert(0, os.path.join(ROOT, "tests", "integration", "clickhouse"))
    import delivery as d  # pylint: disable=import-outside-toplevel
    engine = d.Engine(os.path.join(build, "tools", "chembed"), str(PORT), str(PORT + 1))
    program = os.path.join(build, "tests", "integration", "clickhouse", "ch_deliver")
    data = os.path.join(folder, "data")
    ways = {"none": "0", "lz4": "1", "zstd": "2"}
    engine.start()

    def received():
        return int(engine.query("SELECT value FROM system.events WHERE event = 'NetworkReceiveBytes'") or 0)

    def deliver(database, count, fresh, **env):
        if fresh:
            shutil.rmtree(os.path.join(data, "sinks"), ignore_errors=True)
        wall, _, text = run([program, "run", data, engine.url, database, str(count)], CH_RANGE_EVENTS="50000",
                            CH_RANGE_AGE_MS="500", **env)
        return wall, int(re.search(r"thread_us=(\d+)", text)[1]) / 1e6, text

    try:
        os.makedirs(data)
        out = deliver("fill", events, False)[2]
        records = sum(int(n) for n in re.findall(r"(?:events|suppressed|dead)=(\d+)", out))
        rows, size = {way: [] for way in ways}, {}
        for n in range(rounds):
            for way, number in ways.items():
                before = received()
                wall, cpu, _ = deliver(f"r{n}{way}", 0, True, CH_COMPRESSION=number)
                size[way] = received() - before
                idle_wall, idle_cpu, _ = deliver(f"r{n}{way}", 0, False, CH_COMPRESSION=number)
                rows[way].append((wall - idle_wall, cpu - idle_cpu))
                engine.query(f"DROP DATABASE r{n}{way} SYNC")
    finally:
        engine.stop()
        shutil.rmtree(engine.folder, ignore_errors=True)
    for way in ways:
        wall, cpu = best(rows[way])
        print(f"clickhouse, {way}: {records / wall / 1000:.0f} K records/s, {cpu / records * 1e6:.2f} us CPU a record, "
              f"{size[way] / records:.0f} bytes a record on the wire")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what is ended still stops its server
    build, what = os.path.abspath(sys.argv[1]), sys.argv[2]
    events, rounds = (int(n) for n in (sys.argv[3:] + ["400000", "3"][len(sys.argv) - 3:])[:2])
    with tempfile.TemporaryDirectory(prefix="sluice-perf-") as folder:
        {"kafka": kafka, "clickhouse": clickhouse}[what](build, events, rounds, folder)


main()
