"""What sluiced tells a service manager (sd_notify(3)), and the rights that it gives up."""
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

SLUICED = sys.argv[1]


def config(folder, **control):
    path = os.path.join(folder, "c.yaml")
    with open(os.path.join(folder, "in.pcap"), "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    more = "".join(f", {key}: {value}" for key, value in control.items())
    with open(path, "w", encoding="ascii") as f:
        f.write(f"node: {{id: n, data_dir: {folder}/data}}\ncontrol: {{socket: {folder}/s.sock{more}}}\n"
                "eal: {hugepages: false}\njournal: {segments_max: 3, partitions: 1, segment_bytes: 4MiB}\n"
                "state: {enabled: false}\nlisteners: [{name: a, udp_port: 9000}]\n"
                f"rules: {{dir: ''}}\nports: [{{name: p, device: 'net_pcap0,rx_pcap={folder}/in.pcap'}}]\n")
    return path


class Manager:
    """A manager's socket, and sluiced below it."""

    def __init__(self, folder, name, environment, **control):
        self.heard = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.socket.settimeout(60)
        self.log = open(os.path.join(folder, "log"), "w+b")
        # exec keeps the process number, which WATCHDOG_PID names
        words = " ".join(f"{key}={value}" for key, value in environment.items())
        self.child = subprocess.Popen(["sh", "-c", f"{words} exec {SLUICED} --config {config(folder, **control)}"],
                                      env={**os.environ, "NOTIFY_SOCKET": name}, stderr=self.log)

    def hear(self, line, seconds=60):
        """Waits for an assignment; everything heard on the way is kept."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                lines = self.socket.recv(4096).decode().split("\n")
            except socket.timeout:
                break
            self.heard += lines
            if line in lines:
                return True
        return False

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        code = self.child.wait(60)
        self.log.seek(0)
        return code, self.log.read().decode()


def status(pid, key):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(line.split(":")[1].strip() for line in f if line.startswith(key + ":"))


def core_limit(pid):
    with open(f"/proc/{pid}/limits", encoding="ascii") as f:
        return next(line.split()[4] for line in f if line.startswith("Max core file size"))


def told(folder):
    m = Manager(folder, os.path.join(folder, "notify"), {"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "$$"})
    assert m.hear("READY=1"), m.stop()
    assert "EXTEND_TIMEOUT_USEC=600000000" in m.heard and "WATCHDOG=1" not in m.heard, m.heard
    assert os.path.exists(os.path.join(folder, "s.sock"))
    assert status(m.child.pid, "NoNewPrivs") == "1" and core_limit(m.child.pid) in ("0", "1")
    assert m.hear("WATCHDOG=1") and m.hear("WATCHDOG=1")
    code, log = m.stop()
    assert code == 0 and "service manager" not in log, log
    assert m.hear("STOPPING=1")
    m.socket.close()


def others(folder):
    # an abstract socket; a watchdog that is meant for another process; core files wanted
    m = Manager(folder, "@sluice-test-%d" % os.getpid(), {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
                core_files="true")
    assert m.hear("READY=1"), m.stop()
    assert not m.hear("WATCHDOG=1", 3), m.heard
    soft = subprocess.run(["sh", "-c", "ulimit -S -c"], capture_output=True, text=True).stdout.strip()
    assert core_limit(m.child.pid) in (soft, str(int(soft) * 512) if soft.isdigit() else soft)
    assert m.stop()[0] == 0
    m.socket.close()


def nobody(folder):
    # a manager that is gone, and no name of a socket at all: said, and no reason not to run
    for name, words in ((os.path.join(folder, "gone"), "No such file"), ("nonsense", "Invalid argument")):
        log = open(os.path.join(folder, "log2"), "w+b")
        child = subprocess.Popen([SLUICED, "--config", config(folder)], stderr=log,
                                 env={**os.environ, "NOTIFY_SOCKET": name, "WATCHDOG_USEC": "x"})
        end = time.monotonic() + 60
        while b"running: node" not in open(log.name, "rb").read() and time.monotonic() < end:
            assert child.poll() is None
            time.sleep(0.05)
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0
        text = open(log.name, encoding="utf-8").read()
        assert words in text and "WATCHDOG_USEC is not" in text, text


for case in (told, others, nobody):
    with tempfile.TemporaryDirectory(prefix="sluice_service_") as scratch:
        case(scratch)
