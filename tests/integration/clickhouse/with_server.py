"""Runs a program against a real ClickHouse engine of its own.

with_server.py CHEMBED HTTP_PORT TCP_PORT PROGRAM [ARG...]
The program finds the server's address in SLUICE_CH_URL. Exit 77 = skipped: the engine's library is not there."""
import os
import signal
import subprocess
import sys
import tempfile

SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib", "clickhouse_server.sh")


def main():
    chembed, http, tcp = sys.argv[1:4]
    # A test that is ended for taking too long still stops its server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="sluice-ch-") as folder:
        rc = subprocess.run([SERVER, "start", folder, http, tcp, chembed], check=False).returncode
        if rc:
            return rc
        try:
            env = dict(os.environ, SLUICE_CH_URL=f"http://127.0.0.1:{http}")
            return subprocess.run(sys.argv[4:], env=env, check=False).returncode
        finally:
            subprocess.run([SERVER, "stop", folder], check=False)


sys.exit(main())
