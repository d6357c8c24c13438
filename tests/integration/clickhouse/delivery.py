"""What the delivery tests share: the engine, the process with journal and sink, and the comparison of both."""
import ctypes
import glob
import json
import os
import signal
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
SERVER = os.path.join(HERE, "..", "lib", "clickhouse_server.sh")
DATABASE = "rt"
LIMIT = 300  # seconds that anything may take; a machine that is busy with something else is no fault
TABLES = ("clicks_raw", "events_raw", "alerts", "dead_letters")


class Engine:
    def __init__(self, chembed, http, tcp):
        self.chembed, self.http, self.tcp = chembed, http, tcp
        self.folder = tempfile.mkdtemp(prefix="sluice-ch-")
        self.url = f"http://127.0.0.1:{http}"
        self.arguments, self.user = [], {}

    def start(self):
        with socket.socket() as s:  # the answers of a stranger's server would be taken for those of ours
            if s.connect_ex(("127.0.0.1", int(self.http))) == 0:
                sys.exit(f"port {self.http} is taken: another server listens there")
        rc = subprocess.run([SERVER, "start", self.folder, self.http, self.tcp, self.chembed, *self.arguments],
                            check=False).returncode
        if rc:
            sys.exit(rc)

    def stop(self):
        subprocess.run([SERVER, "stop", self.folder], check=False)

    def signal(self, signo):
        with open(os.path.join(self.folder, "pid"), encoding="ascii") as f:
            os.kill(int(f.read()), signo)

    def kill(self):
        with open(os.path.join(self.folder, "pid"), encoding="ascii") as f:
            pid = int(f.read())
        os.kill(pid, signal.SIGKILL)
        wait_for("the engine's end", lambda: not os.path.exists(f"/proc/{pid}"))

    def crash(self):
        """kill -9, and a new one on the same data once the old one is gone."""
        self.kill()
        self.start()

    def revive(self):
        """The embedded engine may end by itself when a connection is reset, as by who speaks TLS to its plain port."""
        try:
            self.query("SELECT 1")
        except OSError:
            self.start()

    def query(self, sql):
        url = self.url + "/?" + urllib.parse.urlencode({"wait_end_of_query": 1, **self.user})
        with urllib.request.urlopen(urllib.request.Request(url, data=sql.encode()), timeout=LIMIT) as answer:
            return answer.read().decode()


def die_with_parent():
    """A sender that outlives its test would send into the next one's servers. PR_SET_PDEATHSIG, SIGKILL."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Delivery:
    """One data directory and the process that works on it."""

    def __init__(self, program, url):
        self.program, self.url = program, url
        self.folder = tempfile.mkdtemp(prefix="sluice-chd-")
        self.log = open(os.path.join(self.folder, "log"), "ab")

    def start(self, feed, **env):
        environment = dict(os.environ, **{k: str(v) for k, v in env.items()})
        return subprocess.Popen([self.program, "run", self.folder, self.url, DATABASE, str(feed)], env=environment,
                                stdout=subprocess.PIPE, stderr=self.log, text=True, preexec_fn=die_with_parent)

    def run(self, feed, expected=0, timeout=LIMIT, **env):
        """Runs to the end; returns what it printed."""
        process = self.start(feed, **env)
        try:
            out, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            self.fail("does not end")
        if process.returncode != expected:
            self.fail(f"exit {process.returncode}, expected {expected}")
        return out

    def fail(self, text):
        print(f"FAILED: {text}; end of its log:")
        print(self.log_text()[-3000:])
        sys.exit(1)

    def log_text(self):
        self.log.flush()
        with open(self.log.name, encoding="utf-8", errors="replace") as f:
            return f.read()

    def expected_rows(self):
        out = subprocess.run([self.program, "rows", self.folder], check=True, capture_output=True, text=True).stdout
        rows = {table: [] for table in TABLES}
        for line in out.splitlines():
            table, partition, offset, ident = line.split("\t")
            rows[table].append((int(partition), int(offset), ident))
        return rows


def server_rows(engine, table):
    ident = "rule_id" if table == "alerts" else "''" if table == "dead_letters" else \
        "lower(replaceAll(toString(event_id), '-', ''))"
    text = engine.query(f"SELECT _partition, _offset, {ident} FROM {DATABASE}.{table} FORMAT TabSeparated")
    rows = []
    for line in text.splitlines():
        partition, offset, value = line.split("\t")
        rows.append((int(partition), int(offset), value))
    return rows


def letters(delivery):
    """(table, partition, offset) of each dead letter of the input log, with what it says."""
    found = []
    for path in sorted(glob.glob(os.path.join(delivery.folder, "sinks/clickhouse/p*.letters"))):
        with open(path, encoding="utf-8") as f:
            for line in f:
                letter = json.loads(line)
                _, _, partition, offset = letter["address"].rsplit("/", 3)
                found.append(((letter["table"], int(partition), int(offset)), letter))
    return found


def union_rows(engines, table):
    return [row for engine in engines for row in server_rows(engine, table)]


def forget(engine, delivery, tables, folder):
    """The engine is killed and starts without the parts of blocks that are not marked yet, as if it had ended between
    its two steps: a token in the log, and then the part. Merges have to stand still. Returns how many parts went."""
    partitions = len(glob.glob(os.path.join(delivery.folder, "sinks", folder, "p*.intent")))
    program = os.path.join(os.path.dirname(delivery.program), "ch_pending")
    out = subprocess.run([program, delivery.folder, folder, str(partitions)], check=True, capture_output=True,
                         text=True).stdout
    gone = set()
    for partition, start, end in (line.split() for line in out.splitlines()):
        for table in tables:
            gone |= set(engine.query(
                f"SELECT path FROM system.parts WHERE active AND database = '{DATABASE}' AND table = '{table}' AND "
                f"name IN (SELECT _part FROM {DATABASE}.{table} WHERE _partition = {partition} AND "
                f"_offset >= {start} AND _offset < {end}) FORMAT TabSeparated").splitlines())
    engine.kill()
    for path in gone:
        shutil.rmtree(path)
    engine.start()
    engine.query("SYSTEM STOP MERGES")
    return len(gone)


def forgets(engine, delivery, tables, folder="clickhouse", **env):
    """A server that confirms what it has lost, again and again; the sender is killed at each step of mending it."""
    lost = 0
    delivery.run(500)
    engine.query("SYSTEM STOP MERGES")
    for again in (None, "ch_confirmed", "ch_beside", "ch_attached", None):
        for count in (1, 3, 8):
            delivery.run(3000, expected=-signal.SIGKILL, SLUICE_CRASH=f"ch_answered:{count}", **env)
            lost += forget(engine, delivery, tables, folder)
            if again:
                delivery.run(0, expected=-signal.SIGKILL, SLUICE_CRASH=f"{again}:1", **env)
            delivery.run(0)  # what was seen to be there is not lost in that gap any more
    print(delivery.run(0).strip())
    left = engine.query("SELECT count() FROM system.tables WHERE startsWith(name, 'sluice_again_')").strip()
    put_back = delivery.log_text().count("it is put back")
    print(f"parts that the server lost: {lost}, put back: {put_back}")
    if left != "0" or lost < 15 or put_back < lost:
        delivery.fail(f"{left} tables are left, {lost} parts were lost, {put_back} put back")


def compare(engine, delivery, at_least=1, but=()):
    """Each row that the journal demands, `but` those, is at the server, or at one of several, once; nothing else is."""
    engines = engine if isinstance(engine, list) else [engine]
    expected, failed, sizes = delivery.expected_rows(), False, []
    for table in TABLES:
        want = [row for row in expected[table] if (table, row[0], row[1]) not in but]
        if table == "dead_letters":
            want = [(p, o, "") for p, o, _ in want]
        have = union_rows(engines, table)
        missing, extra = set(want) - set(have), set(have) - set(want)
        doubled = len(have) - len(set(have))
        sizes.append(f"{table}={len(have)}")
        if missing or extra or doubled or len(want) != len(set(want)):
            failed = True
            print(f"{table}: {len(want)} expected, {len(have)} found: {len(missing)} missing, {len(extra)} unknown, "
                  f"{doubled} doubled; e.g. {sorted(missing)[:3]} {sorted(extra)[:3]}")
    total = sum(len(rows) for rows in expected.values())
    print(f"journal and server agree: {' '.join(sizes)}" if not failed else "journal and server differ")
    if failed or total < at_least:
        print(f"left for inspection: {delivery.folder}")
        delivery.fail(f"rows differ, or fewer than {at_least}: {total}")


def wait_for(what, condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            print(f"FAILED: waited {seconds} s for {what}")
            sys.exit(1)
        time.sleep(0.02)


def scenario_run(*scenarios):
    """The one that the arguments name, CHEMBED HTTP TCP PROGRAM SCENARIO, with an engine and a part of its own."""
    # A test that is ended for taking too long still stops its engine.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    engine = Engine(*sys.argv[1:4])
    part = Delivery(sys.argv[4], engine.url)
    engine.start()
    try:
        {f.__name__: f for f in scenarios}[sys.argv[5]](engine, part)
        shutil.rmtree(part.folder)
    finally:
        engine.stop()
        shutil.rmtree(engine.folder, ignore_errors=True)
