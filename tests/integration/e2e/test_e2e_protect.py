"""Protected fields and card numbers in the whole chain, into one real broker and the real engine: JSON, syslog, GELF;
good events, refused ones, garbage; rules with and without state, windows by a protected field.

Shown: no plain value is in any file of the data directory (journal, output log, checkpoints, remembered ids), in any
Kafka topic, in any ClickHouse table, in the log or in what the control socket answers, while a value that is not
protected is found in each of them; rules have matched what came; rules with state and windows count by the pseudonym,
which is what hashlib says; the counters are the numbers of what was sent."""
import collections
import gzip
import hashlib
import json
import os
import subprocess
import sys
import uuid

from daemon import UDP_PORT, Daemon, file_ports, now_ms
from pcap_file import pcap_write
from rig import Rig, wait_until

SYSLOG_PORT, GELF_PORT = 5514, 12201
KEY = bytes(range(32))
PLAIN, OPEN = "kurt.tucholsky", "openvalue"  # protected, not protected
CARDS = ["4111111111111111", "5555555555554444", "378282246310005"]
USERS, CLICKS = 7, 10  # clicks of each user
NEEDLES = [PLAIN.encode(), *(c.encode() for c in CARDS), *(c[:4].encode() + b"-" + c[4:8].encode() for c in CARDS),
           b"DE89370400440532013000"]
RULES = """rules:
- {id: matched_plain, when: {user_id: {regex: '^kurt[.].*0$'}}, then: [tag, alert], severity: high}
- {id: burst, when: {page: /openvalue}, by: user_id, count: {at_least: 5, within: 5m}, then: [alert]}
"""


def user(i):
    return f"{PLAIN}@example.org/{i}"


def pseudonym(text):
    return hashlib.blake2b(text.encode(), key=KEY, digest_size=16).hexdigest()


def dashed(card):
    return "-".join(card[i:i + 4] for i in range(0, len(card), 4))


def escaped(text):
    return "".join(f"\\u{ord(c):04x}" for c in text)


def identity():
    return str(uuid.uuid4())


def datagrams(start):
    out, json_of = [], json.dumps
    for i in range(USERS):
        for k in range(CLICKS):
            name = escaped(user(i)) if k % 2 else user(i)
            out.append((f'{{"event_id":"{identity()}","ts":{start + k},"page":"/{OPEN}","user_id":"{name}"}}',
                        UDP_PORT))
    for card in CARDS:
        out += [(json_of({"type": "log", "source": "till", "ts": start, "message": f"paid by {dashed(card)}, {OPEN}",
                          "attributes": {"pan": int(card), "iban": "DE89370400440532013000", "text": [card]}}),
                 UDP_PORT),
                (json_of({"type": "transaction", "user_id": user(0), "ts": start, "amount": 1, "card": card,
                          "merchant": OPEN}), UDP_PORT),
                # refused, as JSON and as what is none
                (json_of({"user_id": user(1), "ts": start, "referrer": f"{OPEN} {card}"}), UDP_PORT),
                (f'{{"user_id":"{user(2)}","x":"{card}', UDP_PORT),
                (f"<13>1 - h till - - - card {dashed(card)} {OPEN}", SYSLOG_PORT),
                (json_of({"version": "1.1", "host": "h", "short_message": f"{card} {OPEN}"}), GELF_PORT),
                (f"<999 {user(3)} {card}", SYSLOG_PORT)]
    # it does not end as gzip does, and is not looked into
    packed = gzip.compress(json_of({"short_message": user(4)}).encode())[:-3]
    return [(text.encode(), port) for text, port in out] + [(packed, GELF_PORT)]


def files_with(folder, needles):
    found = collections.Counter()
    for base, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(base, name), "rb") as f:
                data = f.read()
            for needle in needles:
                if needle in data:
                    found[os.path.relpath(base, folder).split(os.sep)[0], needle.decode()] += 1
    return dict(found)


def topics_text(rig):
    listing = json.loads(subprocess.run(["kcat", "-b", rig.kafka.brokers, "-L", "-J"], capture_output=True, timeout=60,
                                        check=True).stdout)
    out = {}
    for topic in (t["topic"] for t in listing["topics"] if not t["topic"].startswith("__")):
        out[topic] = subprocess.run(["kcat", "-b", rig.kafka.brokers, "-C", "-t", topic, "-e", "-q", "-f",
                                     "%h\\t%k\\t%s\\n"], capture_output=True, timeout=120, check=True).stdout
    return out


def tables_text(rig, database):
    names = rig.clickhouse.query(f"SELECT name FROM system.tables WHERE database = '{database}'").split()
    return {n: rig.clickhouse.query(f"SELECT * FROM {database}.{n} FORMAT JSONEachRow").encode() for n in names
            if not n.endswith("_mv")}


def check_places(rig, daemon, answers):
    """Every place is looked through for what must not be there and for what must."""
    places = {"kafka " + k: v for k, v in topics_text(rig).items()}
    places.update({"clickhouse " + k: v for k, v in tables_text(rig, daemon.name).items()})
    places["log"], places["control socket"] = daemon.log_tail(10 << 20).encode(), answers.encode()
    bad = {(place, n.decode()) for place, text in places.items() for n in NEEDLES if n in text}
    rig.expect(not bad, f"no plain value in {len(places)} places {bad or ''}")
    seen = {place for place, text in places.items() if OPEN.encode() in text}
    rig.expect({"kafka protect.clicks", "kafka protect.platform", "kafka protect.dead", "clickhouse clicks_raw",
                "clickhouse events_raw"} <= seen, f"what is not protected is in {sorted(seen)}")
    bad = files_with(daemon.data, NEEDLES)
    rig.expect(not bad, f"no plain value in the data directory {bad or ''}")
    seen = files_with(daemon.data, [OPEN.encode()])
    rig.expect(seen.get(("journal", OPEN)), f"what is not protected is in {seen}")
    return places


def check_alerts(rig, places):
    rules = collections.Counter()
    for line in places["kafka protect.alerts"].decode().splitlines():
        alert = json.loads(line.split("\t", 2)[2])
        rules[alert.get("rule") or alert.get("rule_id")] += 1
    want = {pseudonym(user(i)) for i in range(USERS)}
    rig.expect(rules["matched_plain"] == CLICKS + len(CARDS), f"rules see what came: {dict(rules)}")
    rig.expect(rules["burst"] >= USERS, "rules with state count by the pseudonym")
    rig.expect(all(w.encode() in places["kafka protect.alerts"] for w in want), "and name it")


def check_windows(rig, daemon):
    text = ""

    def closed():
        nonlocal text
        text = json.dumps(daemon.ctl("windows", "rows", "by_user", "--last", "100", "--limit", "1000"))
        return all(pseudonym(user(i)) in text for i in range(USERS))

    rig.expect(wait_until(closed, 120, "windows that close"), f"windows have the pseudonyms {text[:200]}")
    return text


def check_counters(rig, daemon):
    metrics = daemon.ctl("metrics")
    text = metrics if isinstance(metrics, str) else json.dumps(metrics)
    have = collections.Counter()
    for line in text.replace("\\n", "\n").splitlines():
        for name in ("hashed", "masked", "dropped"):
            if line.startswith(f"sluice_worker_protect_{name}_total{{"):
                have[name] += int(float(line.split()[-1]))
        for name in ("sluice_worker_cards_total", "sluice_worker_dead_letters_withheld_total"):
            if line.startswith(name + "{"):
                have[name] += int(float(line.split()[-1]))
    n = len(CARDS)
    want = {"hashed": USERS * CLICKS + 2 * n, "masked": n, "dropped": n,
            "sluice_worker_cards_total": 3 * n + n + n + n, "sluice_worker_dead_letters_withheld_total": 2 * n + 1}
    rig.expect(dict(have) == want, f"counters are {dict(have)}, expected {want}")


with Rig(sys.argv[1], kafka=1, clickhouse=True) as rig:
    with open(rig.path("key"), "w", encoding="ascii") as f:
        f.write(KEY.hex() + "\n")
    os.chmod(rig.path("key"), 0o600)
    os.mkdir(rig.path("rules"))
    with open(rig.path("rules", "own.yaml"), "w", encoding="ascii") as f:
        f.write(RULES)
    sent = datagrams(now_ms() - 3000)
    pcap_write(rig.path("a.pcap"), sent[::2])
    pcap_write(rig.path("b.pcap"), sent[1::2])
    daemon = Daemon(rig, "protect", file_ports(rig.path("a.pcap"), rig.path("b.pcap")),
                    privacy={"cards": "mask"}, log={"level": "debug"}, rules={"dir": rig.path("rules")})
    daemon.config["listeners"] += [{"name": "syslog", "udp_port": SYSLOG_PORT, "format": "syslog"},
                                   {"name": "gelf", "udp_port": GELF_PORT, "format": "gelf"}]
    daemon.config["protect"] = [{"field": "user_id", "action": "hash", "key_file": rig.path("key")},
                                {"field": "attributes.iban"}, {"field": "card", "action": "drop"}]
    daemon.config["windows"] = [{"name": "by_user", "size": "1s", "by": "user_id", "types": "click"}]
    rig.expect(daemon.start(), "sluiced runs")
    rig.expect(daemon.wait_input_ended() and daemon.wait_quiet() and daemon.drain(), "the sinks have delivered all")
    daemon.expect_balanced("drained")
    drops = daemon.drops()
    rig.expect(drops.get("bad_json") == len(CARDS) and drops.get("missing_field") == len(CARDS) and
               drops.get("bad_format") == len(CARDS) + 1, f"refused as meant: {drops}")
    check_counters(rig, daemon)
    answers = check_windows(rig, daemon)
    rig.expect(daemon.drain(), "and what the state stage has made since")
    answers += json.dumps([daemon.ctl("alerts", "list"), daemon.ctl("status"), daemon.ctl("rules", "stats")])
    daemon.ctl("checkpoint", "now")
    check_alerts(rig, check_places(rig, daemon, answers))
    rig.expect(daemon.kill() is not None, "kill -9, and what recovery then writes")
    rig.expect(daemon.start() and daemon.wait_input_ended(), "sluiced runs again")
    daemon.stop_well("after the restart")
    bad = files_with(daemon.data, NEEDLES)
    rig.expect(not bad, f"no plain value in the data directory after a crash and a restart {bad or ''}")
    rig.verify(daemon, "journal = Kafka = ClickHouse")
rig.done()
