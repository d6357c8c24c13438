"""nginx, a real one, in a network namespace: its access log as JSON by syslog to sluiced, and the same lines to a file
of its own. Requests with everything that has to be escaped. No sink.

Shown: each line of nginx's file is one event of the journal, whose attributes are the line's members, with nginx's tag
as its source and its level; nothing else is there; the ledger balances."""
import collections
import json
import os
import shutil
import subprocess
import sys

from daemon import Daemon
from netns import TARGET, Sender
from rig import Rig, skip, wait_until

PORT, HTTP, REQUESTS = 5514, 8080, 300
CACHE = os.path.expanduser(os.environ.get("SLUICE_CACHE", "~/.cache/sluice"))
NGINX = shutil.which("nginx", path=os.path.join(CACHE, "bin") + ":" + os.environ.get("PATH", "") + ":/usr/sbin")
CONFIG = """
daemon off; master_process off; pid {home}/pid; error_log {home}/error.log; worker_processes 1;
user root;
events {{ worker_connections 64; }}
http {{
  log_format line escape=json '{{"n":"$arg_n","uri":"$request_uri","agent":"$http_user_agent","status":$status,'
    '"bytes":$body_bytes_sent,"seconds":$request_time,"method":"$request_method"}}';
  access_log {home}/access.log line;
  access_log syslog:server={target}:{port},tag=shop,severity=notice,nohostname line;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  server {{ listen 127.0.0.1:{http}; location /gone {{ return 410; }} location / {{ return 200 "hello"; }} }}
}}
"""
CLIENT = r"""
import http.client, sys
agents = ('curl/8', 'say "so" \\ and so', 'm\xe4rz \xff', 'tab\there', '{"a":1}')
for n in range(int(sys.argv[2])):
    c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
    path = "/gone" if n % 7 == 0 else "/cart"
    c.putrequest("GET", f"{path}?n={n}&q=%22{'x' * (n % 50)}", skip_accept_encoding=True)
    c.putheader("User-Agent", agents[n % len(agents)].encode("latin-1"))
    c.endheaders()
    c.getresponse().read()
    c.close()
"""


def nginx_start(rig, sender):
    home = rig.path("web")
    os.mkdir(home)
    with open(home + "/nginx.conf", "w", encoding="ascii") as f:
        f.write(CONFIG.format(home=home, target=TARGET[4], port=PORT, http=HTTP))
    rig.spawn([*sender.run, NGINX, "-p", home, "-c", home + "/nginx.conf", "-e", home + "/error.log"], "nginx.log")
    rig.expect(wait_until(lambda: os.path.exists(home + "/pid"), 60, "nginx"), "nginx runs")
    return home + "/access.log"


def key(members):
    return json.dumps(members, sort_keys=True)


def check(rig, daemon, log):
    with open(log, encoding="utf-8", errors="surrogateescape") as f:
        lines = f.read().splitlines()
    out = subprocess.run([rig.program("sluicectl"), "--json", "journal", "dump", "--dir", daemon.data + "/journal"],
                         capture_output=True, text=True, timeout=60, check=True).stdout
    records = [r for r in map(json.loads, out.splitlines()) if r["kind"] in ("event", "refused")]
    events = [json.loads(r["payload"]) for r in records if r["kind"] == "event"]
    names = ("n", "uri", "agent", "status", "bytes", "seconds", "method")
    whole, cut = collections.Counter(), collections.Counter()
    for line in lines:
        try:
            whole[key(json.loads(line.encode("utf-8", "surrogateescape").decode()))] += 1
        except UnicodeDecodeError:  # nginx lets through what is no UTF-8: such a line is text, not an object
            cut[line.encode("utf-8", "surrogateescape").decode(errors="replace")] += 1
    objects = [e["attributes"] for e in events if "n" in e["attributes"]]
    have = collections.Counter(key({n: o[n] for n in names}) for o in objects)
    text = collections.Counter(e["message"] for e in events if "n" not in e["attributes"])
    rig.expect(len(lines) == REQUESTS and have == whole and len(whole) == REQUESTS * 4 // 5,
               f"{len(lines)} lines, {len(have)} objects: {list((whole - have))[:2]} {list((have - whole))[:2]}")
    rig.expect(text == cut and len(cut) == REQUESTS // 5, f"{len(text)} lines that are no UTF-8 are text")
    rig.expect(len(records) == len(events) == REQUESTS, "and nothing else is there")
    said = {(e["source"], e["level"], e["type"]) for e in events}
    rig.expect(said == {("shop", "notice", "log")}, f"source and level: {said}")


if not NGINX:
    skip("no nginx: ./run deps")
with Rig(sys.argv[1], root=True) as rig:
    sender = Sender(rig)
    daemon = Daemon(rig, "nginx", sender.af_packet(1), workers=1, sinks=False)
    daemon.config["listeners"] = [{"name": "access", "udp_port": PORT, "format": "syslog"}]
    rig.expect(daemon.start(), "sluiced runs")
    log = nginx_start(rig, sender)
    done = subprocess.run([*sender.run, sys.executable, "-c", CLIENT, str(HTTP), str(REQUESTS)], capture_output=True,
                          text=True, timeout=180, check=False)
    rig.expect(done.returncode == 0, f"all is requested {done.stderr[-300:]}")
    rig.expect(wait_until(lambda: daemon.counter("events") >= REQUESTS, 60, "events"), "and has arrived")
    rig.expect(daemon.wait_quiet(), "all is durable")
    daemon.expect_no_kernel_drops()
    daemon.expect_balanced("at the end")
    daemon.stop_well("at the end")
    check(rig, daemon, log)
rig.done()
