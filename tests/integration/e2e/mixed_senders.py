"""Senders of every format, in turn from one process: mixed_senders.py HOST SECONDS RATE FORMAT=PORT... RATE: turns of
all formats a second times their number. Events carry the turn; prints how many datagrams of each were sent."""
import gzip
import json
import socket
import sys
import time


def log(n, text):
    return json.dumps({"type": "log", "source": "mixed", "message": f"{text} {n}", "ts": int(time.time() * 1000)})


def utc():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def chunked(n):
    body = json.dumps({"version": "1.1", "host": "mixed", "short_message": f"gelf chunks {n}",
                       "_blob": "x" * 3000}).encode()
    pieces = [body[i:i + 1200] for i in range(0, len(body), 1200)]
    ident = n.to_bytes(8, "big")
    return [b"\x1e\x0f" + ident + bytes([i, len(pieces)]) + piece for i, piece in enumerate(pieces)]


def gelf(n):
    if n % 3 == 2:
        return chunked(n)
    body = json.dumps({"version": "1.1", "host": "mixed", "short_message": f"gelf {n}"}).encode()
    return [gzip.compress(body) if n % 3 else body]


def ndjson(n):
    """Each fourth is larger than a frame, so that it is cut into IP fragments."""
    return ["\n".join(log(n, f"ndjson {i}") for i in range(40 if n % 4 == 3 else 3)).encode()]


DATAGRAMS = {
    "json": lambda n: [log(n, "json").encode() if n % 10 else b'{"type":"log",' + b"%d" % n],
    "ndjson": ndjson,
    "statsd": lambda n: [f"mixed.count:{n}|c|#n:{n}\nmixed.time:{n % 100}|ms".encode()],
    "influx": lambda n: [f"mixed,host=h{n % 7} value={n}i,load=0.5 {time.time_ns()}\n".encode()],
    "syslog": lambda n: [f"<165>1 {utc()} mixed app 1 - - syslog {n}".encode()],
    "gelf": gelf,
}


def main():
    host, seconds, rate = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    ports = dict(pair.split("=") for pair in sys.argv[4:])
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sent = dict.fromkeys(ports, 0)
    started, turn = time.monotonic(), 0
    while (now := time.monotonic() - started) < seconds:
        if turn * len(ports) > now * rate:
            time.sleep(0.001)
            continue
        for name, port in ports.items():
            for datagram in DATAGRAMS[name](turn):
                s.sendto(datagram, (host, int(port)))
                sent[name] += 1
        turn += 1
    json.dump(sent, sys.stdout)


main()
