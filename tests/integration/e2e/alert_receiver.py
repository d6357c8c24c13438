"""Receivers of alerts: an HTTP server that checks as Alertmanager's API v2 does and can be told to behave badly, and
the real Alertmanager."""
import datetime
import http.server
import json
import re
import ssl
import subprocess
import threading
import time
import urllib.request

from rig import wait_until

LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
POISON = "poison"  # in a key: an alert that is refused for good, and all that come with it


def time_of(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def fault_of(alerts):
    """What Alertmanager would say against them, or None."""
    if not isinstance(alerts, list):
        return "not a list"
    for a in alerts:
        labels, notes = a.get("labels"), a.get("annotations", {})
        if not labels or not labels.get("alertname"):
            return "at least one label pair required"
        for name, value in [*labels.items(), *notes.items()]:
            if not LABEL.match(name) or not isinstance(value, str):
                return f"invalid label {name}"
        if time_of(a["endsAt"]) < time_of(a["startsAt"]):
            return "start time must be before end time"
        if set(a) - {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}:
            return f"unknown members: {sorted(a)}"
        if POISON in labels["key"]:
            return "poisoned"
    return None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        owner, self.came = self.server.owner, time.monotonic()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        mode = owner.next_mode(dict(self.headers))
        try:
            getattr(self, "mode_" + mode)(body)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    def mode_ok(self, body):
        alerts = json.loads(body)
        fault = fault_of(alerts)
        if fault:
            self.server.owner.faults.append(fault)
            self.answer(400, json.dumps(fault).encode())
            return
        self.server.owner.take(alerts, self.came)
        self.answer(200)

    def mode_late(self, body):
        """Taken, but the answer comes when nobody waits for it any more."""
        self.server.owner.take(json.loads(body), self.came)
        time.sleep(1.5)
        self.answer(200)

    def mode_drip(self, body):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(15):
            self.wfile.write(b"X-Drip: 1\r\n")
            self.wfile.flush()
            time.sleep(0.1)
        self.close_connection = True

    def mode_huge(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 40))
        self.end_headers()
        while True:
            self.wfile.write(bytes(1 << 16))

    def mode_garbage(self, body):
        self.wfile.write(b"\x00\xff\xfe<html>" + bytes(range(256)) * 8)
        self.close_connection = True

    def mode_close(self, body):
        self.close_connection = True

    def mode_500(self, body):
        self.answer(503, b"\x1b[31mbusy\n\x00" * 1000)

    def mode_429(self, body):
        self.server.owner.told_later(json.loads(body))
        self.answer(429, b"slow down", Retry_After="2")

    def mode_301(self, body):
        self.answer(301, b"", Location="http://127.0.0.1:1/")

    def mode_401(self, body):
        self.answer(401, b"who are you?", Retry_After="1")


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # of connections that end as they are meant to


class Receiver:
    def __init__(self, certificate=None):
        self.lock = threading.Lock()
        self.got, self.faults, self.modes, self.requests, self.tokens = {}, [], [], 0, set()
        self.told, self.pauses = {}, []
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.owner = self
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self.server.server_port}"

    def next_mode(self, headers):
        with self.lock:
            self.requests += 1
            self.tokens.add(headers.get("Authorization"))
            return self.modes.pop(0) if self.modes else "ok"

    def take(self, alerts, came):
        """came: when the request did. One from before the refusal, which nobody waits for any more, breaks no pause."""
        with self.lock:
            for a in alerts:
                who = (a["labels"]["alertname"], a["labels"]["key"])
                self.got.setdefault(who, []).append(a["labels"]["alert_id"])
                if self.told.get(who, came) < came:
                    self.pauses.append(time.monotonic() - self.told.pop(who))

    def told_later(self, alerts):
        with self.lock:
            for a in alerts:
                self.told[(a["labels"]["alertname"], a["labels"]["key"])] = time.monotonic()


class Alertmanager:
    """The real one, as a child. None of its notifications leave."""

    def __init__(self, rig, port):
        self.base = f"http://127.0.0.1:{port}/api/v2/"
        with open(rig.path("alertmanager.yml"), "w", encoding="ascii") as f:
            f.write("route: {receiver: none}\nreceivers: [{name: none}]\n")
        self.child = rig.spawn(["prometheus-alertmanager", "--config.file", rig.path("alertmanager.yml"),
                                "--storage.path", rig.path("alertmanager"), "--cluster.listen-address=",
                                f"--web.listen-address=127.0.0.1:{port}"], "alertmanager.log", {})

    def get(self, what):
        try:
            with urllib.request.urlopen(self.base + what, timeout=10) as answer:
                return json.load(answer)
        except OSError:
            return None

    def up(self):
        return wait_until(lambda: self.get("status") is not None, 90, "Alertmanager")

    def alerts(self):
        return self.get("alerts") or []


def certificate(rig):
    """A self-signed one for 127.0.0.1: files of certificate and key."""
    cert, key = rig.path("cert.pem"), rig.path("key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True,
                   capture_output=True, timeout=60)
    return cert, key
