"""What the end-to-end tests share: the built programs, real servers, sluiced, the generator, the comparison at the end.

Everything that waits has a limit. Everything that is started is ended by its process id, also when the test fails, is
interrupted or is killed itself: a janitor process waits for the end of this one (see janitor.py)."""
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from janitor import janitor_start
from servers import ClickHouse, Kafka

SKIP = 77
HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.normpath(os.path.join(HERE, "..", "..", ".."))
PROGRAMS = {
    "sluiced": "controlplane/sluiced",
    "sluicectl": "controlplane/cli/sluicectl",
    "gen": "tools/gen/sluice-gen",
    "verify": "tools/verify/sluice-verify",
    "send": "clients/c/sluice-send",
    "chembed": "tools/chembed",
}


def skip(reason):
    print(f"skipped: {reason}", flush=True)
    sys.exit(SKIP)


def on_signal(signo, _frame):
    sys.exit(128 + signo)


def wait_until(condition, seconds, what, step=0.05):
    """True when the condition came true in time; says what was waited for otherwise."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            say(f"waited {seconds} s in vain for: {what}")
            return False
        time.sleep(step)
    return True


STARTED = time.monotonic()


def say(text):
    print(f"{time.monotonic() - STARTED:6.1f} {text}", flush=True)


def foreign_rows(text):
    """Lines of sluice-verify about rows that it has not compared, but alerts."""
    kind, found = "", []
    for line in text.splitlines():
        kind = line.split()[0] if line[:1].strip() else kind
        found += [line] if "not compared" in line and kind != "alerts" else []
    return found


class Rig:
    """A scratch directory, the programs of a build, servers as wanted. Use as a context manager."""

    def __init__(self, build, kafka=0, clickhouse=False, seed=0, root=False):
        self.build = os.path.abspath(build)
        self.seed = seed or int(os.environ.get("SLUICE_TEST_SEED", "0")) or random.randrange(1 << 30)
        self.random = random.Random(self.seed)
        if root and os.geteuid() != 0:
            skip("needs root (network namespaces, packet sockets)")
        for name, path in PROGRAMS.items():
            if not os.access(self.program(name), os.X_OK):
                skip(f"{path} is not built")
        # Below the range of ephemeral ports: else somebody's outgoing connection may sit on a dead server's port.
        port = int(os.environ.get("SLUICE_E2E_PORT", "25000"))
        self.dir = tempfile.mkdtemp(prefix="sluice-e2e-")
        self.kafka = Kafka(os.path.join(self.dir, "kafka"), kafka, port) if kafka else None
        engine = self.program("chembed")
        self.clickhouse = ClickHouse(os.path.join(self.dir, "ch"), port, engine) if clickhouse else None
        self.children, self.closers, self.failures, self.log_of = [], [], 0, {}

    def program(self, name):
        return os.path.join(self.build, PROGRAMS[name])

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def __enter__(self):
        for signo in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signo, on_signal)
        say(f"seed {self.seed}, build {self.build}, scratch {self.dir}")
        janitor_start(self.dir)
        try:
            for server in (self.kafka, self.clickhouse):
                if server and server.start():
                    shutil.rmtree(self.dir, ignore_errors=True)
                    skip("a server cannot be started here, see above")
        except BaseException:
            self.__exit__(Exception, None, None)
            raise
        return self

    def __exit__(self, kind, value, trace):
        for signo in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signo, signal.SIG_IGN)
        for child in self.children:
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)
                child.kill()
                child.wait()
        for server in (self.kafka, self.clickhouse):
            if server:
                server.end()
        for close in reversed(self.closers):
            close()
        self.look_for_refused_calls()
        clean = not self.failures and (kind is None or (kind is SystemExit and value.code in (0, SKIP)))
        if clean and not os.environ.get("SLUICE_E2E_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)
        else:
            print(f"left for inspection: {self.dir}", flush=True)

    def look_for_refused_calls(self):
        """Whatever a test does, no sluiced needs a system call that its filter does not let through."""
        for name in os.listdir(self.dir) if os.path.isdir(self.dir) else []:
            if not name.endswith(".log") or not os.path.isfile(self.path(name)):
                continue
            lines = [x for x in self.text(name).splitlines() if "SYSTEM CALL REFUSED" in x]
            if lines:
                self.expect(False, f"{name}: {lines[0]}")

    def expect(self, good, what):
        say(("ok: " if good else "FAILED: ") + what)
        self.failures += not good
        return bool(good)

    def done(self):
        """After the with block."""
        print("all as expected" if not self.failures else f"{self.failures} FAILED", flush=True)
        sys.exit(1 if self.failures else 0)

    def spawn(self, args, log, env=None):
        """A child in the background; its output is appended to the file `log`. Dies with this process."""
        with open(self.path(log), "ab") as out:
            child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *args], stdout=out, stderr=out,
                                     stdin=subprocess.DEVNULL, env=dict(os.environ, **(env or {})))
        self.children.append(child)
        return child

    def text(self, log, tail=0):
        with open(self.path(log), encoding="utf-8", errors="replace") as f:
            return f.read()[-tail:]

    def gen(self, name, prefix=(), **options):
        """sluice-gen in the background; writes name.truth and name.clock. count=5 becomes --count 5."""
        args = [*prefix, self.program("gen"), "--truth", self.path(name + ".truth"), "--clock",
                self.path(name + ".clock")]
        for key, value in options.items():
            args += ["--" + key.replace("_", "-"), str(value)]
        return self.spawn(args, name + ".gen.log")

    def gen_run(self, name, timeout=300, **options):
        child = self.gen(name, **options)
        if child.wait(timeout):
            raise RuntimeError(f"sluice-gen: {self.text(name + '.gen.log', 1000)}")

    def gen_stop(self, name, child):
        """Ends the generator; returns the numbers of its closing line."""
        clock = self.path(name + ".clock")  # before it is there a signal would end the process, not the traffic
        wait_until(lambda: os.path.exists(clock) or child.poll() is not None, 60, "the generator's start")
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        rc = child.wait(120)
        lines = self.text(name + ".gen.log").split("\n")
        summary = next((x for x in reversed(lines) if x.startswith("events=")), "")
        if not self.expect(rc == 0 and summary, f"generator: {summary or lines[-3:]}"):
            return {}
        return {k: float(v) for k, v in (pair.split("=") for pair in summary.split())}

    def verify(self, daemon, what, *more, truth=None, sinks=True):
        """Journal against Kafka and ClickHouse by address and id, and against the truth file. sluiced must not run.
        Alerts of the state stage, under the output log's addresses, are beside those of rules on single events."""
        args = [self.program("verify"), "--journal", os.path.join(daemon.data, "journal"), "--rules", daemon.data,
                *daemon.verify_args(sinks), *more]
        if truth:
            args += ["--truth", self.path(truth)]
        out = subprocess.run(args, capture_output=True, text=True, timeout=300, check=False)
        text = out.stdout + out.stderr
        strangers = foreign_rows(text)
        good = self.expect(out.returncode == 0 and not strangers, f"{what}: {text.strip().splitlines()[-1]}")
        if strangers:
            say("rows of another journal where this one's alone should be")
        if not good or os.environ.get("SLUICE_E2E_VERBOSE"):
            print(text, flush=True)
        return text

    def verify_count(self, text, key):
        """A number of the closing line of verify()."""
        for word in text.split():
            if word.startswith(key + "="):
                return int(word.split("=")[1])
        return -1
