"""The wall clock of sluiced alone, set by the test while sluiced runs: wall_clock.c is loaded into it and adds what the
test writes into a file. The machine's clock, the servers' and the generator's stay as they are."""
import os
import re
import struct
import subprocess
import threading

from daemon import now_ms

RECORD = re.compile(rb'"partition":(\d+),"offset":(\d+),"kind":"(\w+)",.*?"event_time_ms":(-?\d+),'
                    rb'"receive_time_ms":(\d+),')
STEPPED = re.compile(r"msg=\"the wall clock stepped by (-?\d+) ms partition=(\d+)")
BEHIND = re.compile(r"msg=\"the wall clock is (\d+) ms behind the journal")
UNSEEN_MS = 600  # what the journal does not call a step, and what a busy machine may add
SEEN_SECONDS = 2.2  # the journal compares the clocks once a second and a tick


class WallClock:
    def __init__(self, rig, daemon):
        self.rig, self.daemon, self.at_ms, self.steps = rig, daemon, 0, []
        self.path = rig.path("wall_clock")
        self.stop_event, self.thread = threading.Event(), None
        self.write(0)
        daemon.env = {"LD_PRELOAD": os.path.join(rig.build, "tests/integration/e2e/libwall_clock.so"),
                      "SLUICE_TEST_CLOCK": self.path}

    def write(self, at_ms):
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        os.pwrite(fd, struct.pack("<q", at_ms), 0)
        os.close(fd)

    def set(self, at_ms):
        """So far ahead of the machine's."""
        if at_ms != self.at_ms:
            self.steps.append((now_ms(), at_ms - self.at_ms))
        self.at_ms = at_ms
        self.write(at_ms)

    def keep_stepping(self, places_ms):
        """Steps to a place and back, each for as long as it takes to be seen, in a thread, until stop()."""
        self.thread = threading.Thread(target=self.run, args=(places_ms,), daemon=True)
        self.thread.start()

    def run(self, places_ms):
        turn = 0
        while not self.stop_event.wait(SEEN_SECONDS):
            self.set(0 if self.at_ms else places_ms[turn % len(places_ms)])
            turn += bool(self.at_ms)

    def stop(self):
        self.stop_event.set()
        self.thread.join()
        self.set(0)

    # ---- what it must have come to ----

    def check_alarm(self, least):
        """Each step in the log is one that there was, or a few in a row that were not seen each by itself."""
        text = self.rig.text(self.daemon.log)
        seen = [(int(ms), int(p)) for ms, p in STEPPED.findall(text)]
        made = [step for _, step in self.steps]
        sums = {sum(made[i:i + n]) for n in range(1, 5) for i in range(len(made))}
        strange = [ms for ms, _ in seen if not any(abs(ms - s) < UNSEEN_MS for s in sums)]
        behind = [int(ms) for ms in BEHIND.findall(text)]
        self.rig.expect(len(seen) >= least and {ms > 0 for ms, _ in seen} == {True, False} and behind and not strange,
                        f"alarm: {len(made)} steps by {sorted(set(made))} ms, {len(seen)} times in the log of a "
                        f"partition, {len(behind)} times at a start; of steps that there were not: {strange[:3]}")

    def check_counters(self, kills):
        """While sluiced runs: every partition has counted over all kills what the log says, but for what a kill took
        of the one or the other."""
        done = subprocess.run([self.rig.program("sluicectl"), "--socket", self.daemon.socket, "metrics"], timeout=60,
                              capture_output=True, text=True, check=False)
        said = [int(n) for n in re.findall(r"sluice_partition_clock_steps_total{[^}]*} (\d+)", done.stdout)]
        text = self.rig.text(self.daemon.log)
        most = len(STEPPED.findall(text)) + len(BEHIND.findall(text))
        self.rig.expect(said and min(said) > 0 and abs(sum(said) - most) <= kills * len(said),
                        f"sluice_partition_clock_steps_total: {said}, alarms {most}")

    def check_journal(self):
        """Receive times never go back in a partition. sluiced must not run."""
        dump = subprocess.Popen([self.rig.program("sluicectl"), "--json", "journal", "dump", "--dir",
                                 self.daemon.data + "/journal"], stdout=subprocess.PIPE)
        last, back, count, ahead = {}, [], 0, 0
        for line in dump.stdout:
            partition, offset, kind, event, received = RECORD.search(line).groups()
            offset, received = int(offset), int(received)
            count += 1
            ahead = max(ahead, received - int(event) if kind == b"event" else 0)
            if received < last.get(partition, 0):
                back.append((partition, offset, received - last[partition]))
            last[partition] = received
        self.rig.expect(dump.wait() == 0 and count and not back,
                        f"{count} records: receive times never go back {back[:3] or ''}")
        self.rig.expect(ahead > 10000, f"the clock was up to {ahead} ms ahead of events that were accepted")
