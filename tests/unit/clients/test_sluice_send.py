"""What sluice-send says of events that are refused."""
import subprocess
import sys
import threading
import time
import unittest

from test_sluice_client import Peer

SEND = sys.argv.pop(1)


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

    def test_refused(self):
        peer = Peer()
        peer.refuse = {b"[1]": 20, b"[2]": 99}
        self.assertEqual(self.run_send(peer, ("{}", "[1]", "[2]")), (
            2, "refused: event 2, bad_json (20): [1]\nrefused: event 3, reason 99: [2]\n"))


if __name__ == "__main__":
    unittest.main()
