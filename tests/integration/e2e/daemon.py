"""sluiced as the tests run it: its configuration, its life and death, and what it says of itself."""
import json
import os
import signal
import subprocess
import time

from rig import SOURCE, wait_until

UDP_PORT = 5140


def yaml_of(config):
    """Sections are dicts, lists of dicts are sequences; every value as JSON text, which is YAML."""
    out = []
    for section, body in config.items():
        out.append(f"{section}:")
        for item in body if isinstance(body, list) else [body]:
            mark = "- " if isinstance(body, list) else "  "
            for key, value in item.items():
                out.append(f"  {mark if isinstance(body, list) else ''}{key}: {json.dumps(value)}")
                mark = "  "
    return "\n".join(out) + "\n"


def file_ports(*pcaps, more=""):
    """One net_pcap port a file, hence one queue each; two of them make two workers busy."""
    return [{"name": f"file{i}", "device": f"net_pcap{i},rx_pcap={path}{more}"} for i, path in enumerate(pcaps)]


class Daemon:
    def __init__(self, rig, name, ports, workers=2, sinks=True, data=None, **sections):
        self.rig, self.name, self.child, self.env = rig, name, None, {}
        self.routed = []  # topics that rules send events to
        self.data = data or rig.path(name)
        self.socket = rig.path(name + ".sock")
        self.log = name + ".log"
        self.config = {
            "node": {"id": name, "data_dir": self.data},
            "eal": {"hugepages": False, "memory": "256MiB"},
            "worker": {"count": workers, "batches": 64},
            # Room for all that a test sends, so that the journal still has every record at the end; ids are
            # remembered for longer than any test takes.
            "journal": {"partitions": 4, "segment_bytes": "4MiB", "segments_max": 256, "dedup_window": "6h",
                        "dedup_ids_max": 4000000, "dead_letter_rate": "64MiB"},
            "rules": {"dir": os.path.join(SOURCE, "rules", "packs")},
            "control": {"socket": self.socket},
            "log": {"level": "info"},
            "ports": ports,
            "listeners": [{"name": "events", "udp_port": UDP_PORT}],
        }
        if sinks:
            self.config["kafka"] = {
                "enabled": True, "brokers": rig.kafka.brokers, "partitions": 4, "partitions_other": 2,
                "replication": min(rig.kafka.nodes, 3), "min_isr": min(rig.kafka.nodes, 2), "tx_events_max": 3000,
                "tx_age": "100ms", "topic_click": name + ".clicks", "topic_platform": name + ".platform",
                "topic_alerts": name + ".alerts", "topic_dead": name + ".dead", "topic_positions": name + ".positions"}
            self.config["clickhouse"] = {"enabled": True, "url": rig.clickhouse.url, "database": name,
                                         "range_events": 3000, "range_age": "200ms", "timeout": "5s"}
        for section, body in sections.items():
            self.config.setdefault(section, {}).update(body)

    def verify_args(self, sinks):
        args = []
        if sinks and "kafka" in self.config:
            args = ["--kafka", self.config["kafka"]["brokers"], "--timeout", "60"]
            for kind in ("click", "platform", "dead", "alerts"):
                topics = [self.config["kafka"]["topic_" + kind]]
                if kind == "platform":  # and those of single types
                    topics += [pair.split("=")[1] for pair in self.config["kafka"].get("topics", "").split(",") if pair]
                    topics += self.routed
                args += ["--topic-" + kind, ",".join(topics)]
        if sinks and "clickhouse" in self.config:
            args += ["--clickhouse", self.config["clickhouse"]["url"], "--database",
                     self.config["clickhouse"]["database"]]
        return args

    def write_config(self):
        config = self.rig.path(self.name + ".yaml")
        with open(config, "w", encoding="utf-8") as f:
            f.write(yaml_of(self.config))
        return config

    def start(self, crash=None, wait=120, env=None):
        """Returns whether it came up. With wait=0 it is not waited for. self.env: of every start."""
        config = self.write_config()
        env = dict(self.env, **(env or {}), SLUICE_CRASH=crash or "")
        self.child = self.rig.spawn([self.rig.program("sluiced"), "--config", config], self.log, env)
        return not wait or self.wait_running(wait)

    def wait_running(self, seconds=120):
        def running():
            return not self.alive() or (self.ctl("status") or {}).get("phase") == "running"

        return wait_until(running, seconds, f"{self.name} running") and self.alive()

    def alive(self):
        return self.child is not None and self.child.poll() is None

    def kill(self):
        self.child.kill()
        return self.child.wait()

    def wait_dead(self, seconds):
        """The signal that ended it, as a negative number; None: still alive."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, seconds=120):
        """SIGTERM: drains. Returns the exit code, or None if it had to be killed."""
        self.child.send_signal(signal.SIGTERM)
        rc = self.wait_dead(seconds)
        if rc is None:
            print(f"{self.name} does not end within {seconds} s of SIGTERM: killed", flush=True)
            self.kill()
        return rc

    def stop_well(self, what, seconds=120):
        rc = self.stop(seconds)
        if not self.rig.expect(rc == 0, f"{what}: SIGTERM drains, exit code {rc}"):
            print(self.rig.text(self.log, 3000), flush=True)

    def ctl(self, *words, timeout=60):
        """The JSON result of a command, or None if the daemon does not answer or refuses."""
        done = subprocess.run([self.rig.program("sluicectl"), "--socket", self.socket, "--json", *words],
                              timeout=timeout, capture_output=True, text=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else None

    def ctl_fails(self, *words, timeout=60):
        """What a command that must be refused says."""
        done = subprocess.run([self.rig.program("sluicectl"), "--socket", self.socket, *words], timeout=timeout,
                              capture_output=True, text=True, check=False)
        return done.stdout + done.stderr if done.returncode else ""

    def counter(self, name):
        return ((self.ctl("status") or {}).get("events") or {}).get(name, -1)

    def drops(self):
        return {d["reason"]: d["count"] for d in (self.ctl("status") or {}).get("drops", [])}

    def wait_input_ended(self, seconds=180):
        return wait_until(lambda: not self.alive() or (self.ctl("status") or {}).get("input_ended"), seconds,
                          "end of the input files") and self.alive()

    def wait_quiet(self, seconds=120):
        """Until two looks in a row show the same number of events and everything durable."""
        last = [None]

        def quiet():
            ledger = self.ctl("ledger") or {}
            now = json.dumps([e for e in ledger.get("equations", []) if not e["place"].startswith("sink")])
            same = ledger.get("balanced") and now == last[0]
            last[0] = now
            return same

        return wait_until(quiet, seconds, "a ledger that balances and stands still", step=0.3)

    def drain(self, seconds=300):
        return self.ctl("drain", "--timeout", str(seconds), timeout=seconds + 20) is not None

    def expect_balanced(self, what, known_unknowns=(), seconds=60):
        """Every equation's balance is 0, and nothing is unknown but what is said here. A sink that has nothing to
        deliver may still be connecting: it has some time."""
        found = []

        def balanced():
            ledger = self.ctl("ledger") or {"balanced": False}
            unknown = [u for u in ledger.get("unknown", []) if not any(k in u for k in known_unknowns)]
            off = [e for e in ledger.get("equations", []) if e["balance"]]
            found[:] = [ledger, off, unknown]
            return ledger["balanced"] and not unknown and not off

        good = wait_until(balanced, seconds, f"{what}: a ledger that balances", step=0.3)
        ledger, off, unknown = found
        return self.rig.expect(good, f"{what}: ledger of {len(ledger.get('equations', []))} equations, balance "
                                     f"{ledger.get('balance')} {off or ''}{unknown or ''}")

    def expect_no_kernel_drops(self):
        ports = (self.ctl("ports") or {}).get("ports", [{}])
        counts = [f"{p.get('port')}: {p.get('rx_packets')} frames, {p.get('kernel_drops')} drops" for p in ports]
        return self.rig.expect(all(p.get("kernel_drops") == 0 and p.get("rx_missed") in (0, "unknown") for p in ports),
                               "the kernel's rings lost nothing: " + ", ".join(counts))

    def rss_bytes(self):
        with open(f"/proc/{self.child.pid}/status", encoding="ascii") as f:
            for line in f:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        return 0

    def log_tail(self, characters=2000):
        return self.rig.text(self.log, characters)


def now_ms():
    return int(time.time() * 1000)
