"""What sluice-send says of events that are refused, or that nobody acknowledges."""
import subprocess
import sys
import threading
import time
import unittest

from test_sluice_client import Peer as AnyPeer

SEND = sys.argv.pop(1)


class Peer(AnyPeer):
    """forget: an event that is neither acknowledged nor refused."""
    forget = None

    def ack(self, ranges=(), refusals=(), producer=None, number=9):
        lost = {s for s, event in self.events.items() if event == self.forget}
        kept = [(first, bits & ~sum(1 << (s - first) for s in lost if s >= first)) for first, bits in ranges]
        return super().ack(kept, refusals, producer, number)


class SendTest(unittest.TestCase):
    def run_send(self, peer, events, *options):
        """Exit code and standard error."""
        done = threading.Event()

        def serve():
            while not done.is_set():
                peer.pump()
                time.sleep(0.001)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            r = subprocess.run([SEND, "--to", f"127.0.0.1:{peer.port}", *options], input="\n".join(events), text=True,
                               capture_output=True, timeout=100)
        finally:
            done.set()
            thread.join()
            peer.close()
        return r.returncode, r.stderr

    def test_no_answer(self):
        """Likely causes are told when nothing ever came back, and not when some events were acknowledged."""
        hint = "no answer at all has come: is there a listener at this address and port, has it `format: sluice`"
        peer = Peer()
        peer.mute = True
        code, said = self.run_send(peer, ("{}", "{}"), "--timeout", "0.5")
        lines = said.splitlines()
        self.assertEqual((code, lines[0], len(lines)), (3, "2 events were not acknowledged in time", 2), said)
        self.assertTrue(lines[1].startswith(hint) and "firewall" in lines[1], said)
        peer = Peer()
        peer.forget = b"[1]"
        code, said = self.run_send(peer, ("{}", "[1]"), "--timeout", "0.5")
        self.assertEqual((code, said), (3, "1 events were not acknowledged in time\n"))

    def test_refused(self):
        peer = Peer()
        peer.refuse = {b"[1]": 20, b"[2]": 99}
        self.assertEqual(self.run_send(peer, ("{}", "[1]", "[2]")), (
            2, "refused: event 2, bad_json (20): [1]\nrefused: event 3, reason 99: [2]\n"))


if __name__ == "__main__":
    unittest.main()
