"""A wire that loses, repeats and reorders frames in both directions: two veth pairs, and between them a thread that
carries frames from one packet socket to the other."""
import heapq
import os
import random
import select
import socket
import struct
import threading
import time

from janitor import janitor_note
from netns import Sender, ip

ETH_P_ALL, SOL_PACKET, PACKET_STATISTICS, PACKET_IGNORE_OUTGOING = 3, 263, 6, 23
BUFFER_BYTES = 64 << 20
LATE_SECONDS = 0.002  # until a late frame comes, at least


def udp_payload(frame):
    """Of an IPv4 or IPv6 frame without options; b"" of others."""
    if frame[12:14] == b"\x08\x00" and frame[23] == 17:
        return frame[42:]
    if frame[12:14] == b"\x86\xdd" and frame[20] == 17:
        return frame[62:]
    return b""


class BadWire(Sender):
    """loss, twice, late: parts of the frames of either direction. on_data: asked for each frame to sluiced; true: lost.
    Everything may be changed at any time."""

    def __init__(self, rig, loss=0.0, twice=0.0, late=0.0):
        self.loss, self.twice, self.late, self.on_data = loss, twice, late, None
        self.carried, self.lost, self.doubled, self.delayed = [0, 0], [0, 0], [0, 0], [0, 0]
        self.random, self.held, self.ending = random.Random(rig.seed), [], False
        self.ends = f"sla{os.getpid()}"[:15], f"slb{os.getpid()}"[:15]
        janitor_note(rig.dir, "link", self.ends[0])
        self.sockets, self.thread = [], None
        super().__init__(rig)

    def wire(self):
        self.pair(self.theirs, self.ends[0])
        self.pair(self.ends[1], self.ours)
        for end in self.ends:
            ip("link", "set", end, "up")
            self.sockets.append(self.packet_socket(end))
        self.thread = threading.Thread(target=self.carry, name="wire", daemon=True)
        self.thread.start()

    def packet_socket(self, device):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        s.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        s.setsockopt(socket.SOL_SOCKET, 33, BUFFER_BYTES)  # SO_RCVBUFFORCE
        s.bind((device, ETH_P_ALL))
        s.setblocking(False)
        return s

    def kernel_drops(self):
        """Frames that no one decided to lose, since the last call."""
        return sum(struct.unpack("II", s.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1] for s in self.sockets)

    def close(self):
        self.ending = True
        if self.thread:
            self.thread.join()
        for s in self.sockets:
            s.close()
        self.sockets = []
        ip("link", "del", self.ends[0], check=False)
        super().close()

    def carry(self):
        while not self.ending:
            wait = max(0.0, self.held[0][0] - time.monotonic()) if self.held else 0.1
            select.select(self.sockets, [], [], min(wait, 0.1))
            for way in (0, 1):
                self.take(way)
            while self.held and self.held[0][0] <= time.monotonic():
                _, _, way, frame = heapq.heappop(self.held)
                self.put(way, frame)

    def take(self, way):
        """way 0: to sluiced, 1: back."""
        for _ in range(64):
            try:
                frame = self.sockets[way].recv(65536)
            except OSError:  # nothing more; or the interface is going
                return
            self.decide(way, frame)

    def decide(self, way, frame):
        if self.random.random() < self.loss or (way == 0 and self.on_data and self.on_data(frame)):
            self.lost[way] += 1
            return
        if self.random.random() < self.late:
            self.delayed[way] += 1
            at = time.monotonic() + LATE_SECONDS + self.random.expovariate(100)
            heapq.heappush(self.held, (at, self.random.random(), way, frame))
            return
        self.put(way, frame)
        if self.random.random() < self.twice:
            self.doubled[way] += 1
            self.put(way, frame)

    def put(self, way, frame):
        try:
            self.sockets[1 - way].send(frame)
            self.carried[way] += 1
        except OSError:  # the other end's buffer is full, or it is down: lost like others
            self.lost[way] += 1

    def text(self):
        return ", ".join(f"{name}: {self.carried[way]} frames carried, {self.lost[way]} lost, {self.doubled[way]} "
                         f"twice, {self.delayed[way]} late" for way, name in enumerate(("there", "back")))
