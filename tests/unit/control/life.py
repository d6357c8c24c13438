"""What the tests share that run sluiced on pcap ports: events in frames in a file, the daemon, sluicectl."""
import json
import os
import shutil
import struct
import subprocess
import time


def frame(payload):
    udp = struct.pack(">HHHH", 40000, 9000, 8 + len(payload), 0) + payload
    head = struct.pack(">BBHHHBBHII", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, 0x0A000001, 0x0A000002)
    total = sum(struct.unpack(">10H", head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack(">H", total ^ 0xFFFF) + head[12:]
    return bytes.fromhex("020000000002020000000001") + b"\x08\x00" + head + udp


def pcap_write(path, lines, per_datagram=8):
    """Lines of JSON, so many to a datagram."""
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for i in range(0, len(lines), per_datagram):
            fr = frame("\n".join(lines[i:i + per_datagram]).encode())
            f.write(struct.pack("<IIII", 0, 0, len(fr), len(fr)) + fr)


class Life:
    """A daemon in a directory of its own; the configuration is what write_config() was given last."""

    def __init__(self, sluiced, sluicectl, directory):
        self.sluiced, self.sluicectl, self.dir = sluiced, sluicectl, directory
        self.socket, self.data, self.config = (os.path.join(directory, n) for n in ("s.sock", "data", "c.yaml"))
        self.running = []

    def write_config(self, text):
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(text)

    def tail(self):
        with open(os.path.join(self.dir, "log"), encoding="utf-8", errors="replace") as f:
            return f.read()[-3000:]

    def start(self, *more):
        with open(os.path.join(self.dir, "log"), "ab") as log:
            p = subprocess.Popen([self.sluiced, "--config", self.config, *more], stderr=log, stdout=log)
        self.running.append(p)
        self.wait(lambda: self.ctl("version", check=False)[0] == 0 or p.poll() is not None, "start")
        assert p.poll() is None, "sluiced did not start: " + self.tail()
        return p

    def run(self, main):
        """The test; what failed leaves its directory, and nothing leaves a process."""
        try:
            main()
        except BaseException:
            print("kept in", self.dir)
            raise
        finally:
            for p in self.running:
                if p.poll() is None:
                    p.kill()
                    p.wait()
        shutil.rmtree(self.dir)

    def ctl(self, *words, check=True):
        r = subprocess.run([self.sluicectl, "--socket", self.socket, "--json", *words], capture_output=True, text=True)
        if check:
            assert r.returncode == 0, (words, r.returncode, r.stderr, self.tail())
        return r.returncode, r.stdout, r.stderr

    def result(self, *words):
        return json.loads(self.ctl(*words)[1])

    def wait(self, what, name, seconds=60):
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, "waited in vain for: " + name + "\n" + self.tail()
            time.sleep(0.05)

    def ended(self, p, code):
        assert p.wait(60) == code, (p.returncode, self.tail())

    def settled(self):
        """In this order: all input is taken, it is durable, and the state, which is only then behind it, has it."""
        if not self.result("status")["input_ended"] or not self.result("ledger")["balanced"]:
            return False
        state = self.result("status")["state"]
        return state["phase"] == "running" and state["behind"] == 0
