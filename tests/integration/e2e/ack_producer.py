"""A producer of the end-to-end tests: sends the lines of a file by the Python client, at a rate, and prints its counts
as JSON. Exit codes as those of sluice-send."""
import argparse
import json
import sys
import time

from sluice_client import Client, Unacknowledged


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", nargs=2, required=True, metavar=("HOST", "PORT"))
    parser.add_argument("--key-file")
    parser.add_argument("--key", type=int, default=0)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--timeout", type=float, default=60)
    parser.add_argument("file")
    o = parser.parse_args()
    refused = []
    client = Client(o.to[0], int(o.to[1]), key_file=o.key_file, key=o.key,
                    on_refused=lambda sequence, reason, event: refused.append([sequence, reason, event.decode()]))
    started = time.monotonic()
    failed = ""
    try:
        with open(o.file, "rb") as f:
            for number, line in enumerate(f):
                while (wait := started + number / o.rate - time.monotonic()) > 0:
                    client.poll(wait)
                client.send(line.rstrip(b"\n"), o.timeout)
        client.flush(o.timeout)
    except Unacknowledged as e:
        failed = str(e)
    n = client.counts()
    json.dump({"events": n.accepted, "acked": n.acked, "refused": n.refused, "unacknowledged": n.outstanding,
               "sent": n.sent, "repeated": n.repeated, "ignored": n.ignored_malformed + n.ignored_producer +
               n.ignored_mac + n.never_sent, "producer": f"{client.producer:016x}", "refusals": refused,
               "failed": failed}, sys.stdout)
    client.close()
    return 3 if failed else 2 if refused else 0


sys.exit(main())
