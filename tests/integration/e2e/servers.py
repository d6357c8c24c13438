"""Real servers as processes of their own: a Kafka cluster and the ClickHouse engine. Both can be killed, frozen,
thawed and started again. start() returns 77 where the server's files are missing."""
import os
import signal
import subprocess
import time
import urllib.request

LIB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib")


class Kafka:
    def __init__(self, folder, nodes, port):
        self.folder, self.nodes, self.port = folder, nodes, port
        self.brokers = ",".join(f"127.0.0.1:{port + n}" for n in range(1, nodes + 1))
        self.all = range(1, nodes + 1)

    def verb(self, verb, *args, check=True):
        done = subprocess.run([os.path.join(LIB, "kafka_cluster.sh"), verb, self.folder, *map(str, args)], timeout=180,
                              capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise RuntimeError(f"kafka {verb} {args}: {done.stdout}{done.stderr}")
        if done.returncode:
            print(f"kafka {verb}: {done.stdout.strip()}{done.stderr.strip()}", flush=True)
        return done.returncode

    def start(self):
        rc = self.verb("start", self.nodes, self.port, check=False)
        if rc not in (0, 77):
            raise RuntimeError("the Kafka cluster does not start")
        return rc

    def pid(self, n):
        with open(os.path.join(self.folder, f"{n}.pid"), encoding="ascii") as f:
            return int(f.read())

    def kill(self, n):
        self.verb("kill", n)

    def terminate(self, n):
        """Orderly stop of one broker."""
        pid = self.pid(n)
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + 20
        while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
            time.sleep(0.1)
        if os.path.exists(f"/proc/{pid}"):
            os.kill(pid, signal.SIGKILL)
        os.unlink(os.path.join(self.folder, f"{n}.pid"))

    def up(self, *which):
        """At the same time: none of them comes up alone if the quorum is away."""
        script = os.path.join(LIB, "kafka_cluster.sh")
        waits = [subprocess.Popen([script, "startone", self.folder, str(n)]) for n in which or self.all]
        if any([wait.wait(180) for wait in waits]):
            raise RuntimeError("a broker does not come up again")

    def freeze(self, n):
        self.verb("freeze", n)

    def thaw(self, n):
        self.verb("thaw", n)

    def end(self):
        for n in self.all:
            if os.path.exists(os.path.join(self.folder, f"{n}.pid")):
                self.verb("kill", n, check=False)


class ClickHouse:
    def __init__(self, folder, port, chembed):
        self.folder, self.chembed = folder, chembed
        self.http, self.tcp = port + 123, port + 900
        self.url = f"http://127.0.0.1:{self.http}"

    def start(self):
        done = subprocess.run([os.path.join(LIB, "clickhouse_server.sh"), "start", self.folder, str(self.http),
                               str(self.tcp), self.chembed], timeout=120, check=False)
        if done.returncode not in (0, 77):
            raise RuntimeError("the ClickHouse engine does not start")
        return done.returncode

    def pid(self):
        with open(os.path.join(self.folder, "pid"), encoding="ascii") as f:
            return int(f.read())

    def signal(self, signo):
        os.kill(self.pid(), signo)

    def kill(self):
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + 20
        while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
            time.sleep(0.05)

    def terminate(self):
        subprocess.run([os.path.join(LIB, "clickhouse_server.sh"), "stop", self.folder], timeout=60, check=False)

    def freeze(self):
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def query(self, sql):
        request = urllib.request.Request(self.url + "/", data=sql.encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()

    def end(self):
        try:
            if os.path.exists(f"/proc/{self.pid()}"):
                self.kill()
        except OSError:
            pass
