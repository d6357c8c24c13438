"""Enrichment in the whole chain, into one real broker and the real engine: GeoIP by the packet's source and by the
event's `ip`, two lookup tables, reloaded while events come in.

Shown: each journaled event is in `events.enriched` exactly once, with its own members, the values that the tables give
for it (those of one of the two versions of the table that was reloaded), the tags and the address of its raw message;
ClickHouse has the same values in its columns."""
import functools
import ipaddress
import json
import os
import subprocess
import sys

from daemon import Daemon, file_ports
from rig import Rig, SOURCE

MAKER = os.path.join(SOURCE, "tests", "unit", "enrich")
sys.path.insert(0, MAKER)
from make_mmdb import KNOWN  # noqa: E402 (networks of the databases that it writes)

EVENTS = 20000
USERS = 500
MIX = "click=5,platform=2,transaction=3,telemetry=1"
SOURCES = ("192.0.2.1", "2001:db8::1")


def tables_write(rig, version):
    """Every second user has a segment; every third page a category."""
    with open(rig.path("segments.csv.new"), "w", encoding="utf-8") as f:
        f.write("user,segment\n" + "".join(f"u{i:06},{version}-{i % 7}\n" for i in range(0, 2 * USERS, 2)))
    subprocess.run(["mv", rig.path("segments.csv.new"), rig.path("segments.csv")], check=True)
    with open(rig.path("products.csv"), "w", encoding="utf-8") as f:
        f.write("category,sku\r\n" + "".join(f'"cat ""{i}""",{i}\r\n' for i in range(0, 3000, 3)))


def messages(rig, topic):
    """address -> (key, value) of what read-committed readers see; each address once."""
    out = subprocess.run(["kcat", "-b", rig.kafka.brokers, "-X", "isolation.level=read_committed", "-C", "-t", topic,
                          "-e", "-q", "-f", "%h\\t%k\\t%s\\n"], capture_output=True, timeout=120, check=True).stdout
    found = {}
    for line in out.decode().splitlines():
        headers, key, value = line.split("\t", 2)
        address = dict(h.split("=", 1) for h in headers.split(","))["sluice-address"]
        if address in found:
            rig.expect(False, f"{address} twice in {topic}")
        found[address] = (key, json.loads(value))
    return found


def segment_of(user):
    number = user[1:]
    if not number.isdigit() or int(number) % 2 or int(number) >= 2 * USERS:
        return None
    return [f"{version}-{int(number) % 7}" for version in ("old", "new")]


@functools.cache
def geo_of(ip):
    """What the databases say: of the smallest network that holds the address."""
    address, out = ipaddress.ip_address(ip), {}
    for kind in ("city", "asn"):
        nets = [(ipaddress.ip_network(row[0]), row[1:]) for row in KNOWN[kind]]
        found = max((n for n in nets if address in n[0]), key=lambda n: n[0].prefixlen, default=None)
        if found and kind == "asn":
            out["geo_asn"] = f"AS{found[1][0]}"
        elif found:
            out.update({k: v for k, v in zip(("geo_country", "geo_city"), found[1]) if v})
    return out


def enrichment_fits(event, have):
    """Whether these values are what the tables say about the event."""
    user = event.get("user_id") or (event.get("attributes") or {}).get("user_id") or ""
    want = segment_of(user)
    if have.pop("user_segment", None) not in (want or [None]):
        return False
    page = event.get("page") or ""
    sku = page[len("/product/"):].split("/")[0].split("?")[0].split("#")[0] if page.startswith("/product/") else ""
    known = sku.isdigit() and str(int(sku)) == sku and int(sku) % 3 == 0 and int(sku) < 3000
    category = f'cat "{sku}"' if known else None
    if have.pop("product_category", None) != category:
        return False
    # An address of its own goes before the packet's.
    return have in [geo_of(ip) for ip in ([event["ip"]] if "ip" in event else SOURCES)]


def check_enriched(rig, name):
    raw, enriched, wrong = {}, messages(rig, name + ".enriched"), []
    for kind in ("clicks", "platform"):
        raw.update(messages(rig, f"{name}.{kind}"))
    rig.expect(len(raw) > EVENTS and enriched.keys() == raw.keys(),
               f"{len(raw)} raw events, {len(enriched)} enriched ones, the same addresses")
    seen = {"own ip": 0, "tags": 0, "old": 0, "new": 0, "category": 0}
    for address, (key, value) in enriched.items():
        ours = {k: value.pop(k, None) for k in ("_enrichment", "_tags", "_address")}
        seen["own ip"] += "ip" in value
        seen["tags"] += bool(ours["_tags"])
        seen["old"] += str(ours["_enrichment"].get("user_segment")).startswith("old")
        seen["new"] += str(ours["_enrichment"].get("user_segment")).startswith("new")
        seen["category"] += "product_category" in ours["_enrichment"]
        fits = enrichment_fits(value, dict(ours["_enrichment"]))
        if (key, value) != raw.get(address) or ours["_address"] != address or not fits:
            wrong.append((address, value, ours))
    rig.expect(not wrong, f"every enriched event is its raw one and what the tables say {wrong[:3]}")
    rig.expect(all(seen.values()), f"all kinds occur: {seen}")
    return enriched


def check_clickhouse(rig, name, enriched):
    """Columns against the topic: the sums over all events (enrichment was taken out of them above)."""
    again = messages(rig, name + ".enriched")
    for field in ("geo_country", "geo_city", "geo_asn", "user_segment", "product_category"):
        want = {}
        for _, value in again.values():
            text = value["_enrichment"].get(field, "")
            want[text] = want.get(text, 0) + 1
        have = {}
        for table in ("clicks_raw", "events_raw"):
            for line in rig.clickhouse.query(f"SELECT toString({field}) AS v, count() AS n FROM {name}.{table} "
                                             "GROUP BY v FORMAT JSONEachRow").splitlines():
                row = json.loads(line)
                have[row["v"]] = have.get(row["v"], 0) + int(row["n"])
        rig.expect(have == want and len(enriched) == sum(have.values()),
                   f"column {field}: {len(have)} values, as in Kafka")


with Rig(sys.argv[1], kafka=1, clickhouse=True) as rig:
    maker = os.path.join(MAKER, "make_mmdb.py")
    for kind in ("city", "asn"):
        subprocess.run([sys.executable, maker, rig.path(kind + ".mmdb"), kind], check=True)
    for name, source in (("v4", "192.0.2.1:40000"), ("v6", "[2001:db8::1]:40000")):
        rig.gen_run(name, pcap=rig.path(name + ".pcap"), count=EVENTS, users=USERS, mix=MIX,
                    events_per_datagram=5, flows=8,
                    fraud_permille=30, bad_permille=10, dup_permille=10, extra_permille=30,
                    escape_permille=30, utf8_permille=30, seed=rig.seed + len(source), src=source,
                    dst="192.0.2.2:5140" if name == "v4" else "[2001:db8::2]:5140")
    tables_write(rig, "old")
    daemon = Daemon(rig, "enrich", file_ports(rig.path("v4.pcap"), rig.path("empty.pcap")),
                    enrich={"geoip_city": rig.path("city.mmdb"), "geoip_asn": rig.path("asn.mmdb")},
                    kafka={"enriched": True, "topic_enriched": "enrich.enriched"})
    daemon.config["lookups"] = [
        {"name": "segments", "file": rig.path("segments.csv"), "to": "user_segment"},
        {"name": "products", "file": rig.path("products.csv"), "key": "page", "key_prefix": "/product/",
         "to": "product_category", "key_column": "sku", "value_column": "category"}]
    with open(rig.path("v4.pcap"), "rb") as f, open(rig.path("empty.pcap"), "wb") as out:
        out.write(f.read(24))
    rig.expect(daemon.start(), "sluiced runs with four tables")
    rig.expect(daemon.wait_input_ended() and daemon.wait_quiet(), "the first file is read to its end")
    subprocess.run(["truncate", "-s", "100", rig.path("city.mmdb")], check=True)
    rig.expect("nothing changed" in daemon.ctl_fails("enrich", "reload"),
               "a database cut in use: the reload is refused")
    subprocess.run([sys.executable, maker, rig.path("city.mmdb"), "city"], check=True)
    tables_write(rig, "new")
    rig.expect((daemon.ctl("enrich", "reload") or {}).get("changed") is True, "reload of a changed table")
    daemon.stop_well("after the first file")

    daemon.config["ports"] = file_ports(rig.path("v6.pcap"), rig.path("empty.pcap"))
    rig.expect(daemon.start(), "sluiced runs again, with the second file")
    rig.expect(daemon.wait_input_ended() and daemon.wait_quiet() and daemon.drain(), "the sinks have delivered all")
    daemon.expect_balanced("drained")
    tables = {t["table"]: t for t in daemon.ctl("enrich", "show")["tables"]}
    rig.expect(len(tables) == 4 and all(t["hits"] for t in tables.values()), f"all four tables were hit: {tables}")
    daemon.stop_well("after the drain")
    check_clickhouse(rig, "enrich", check_enriched(rig, "enrich"))
    rig.verify(daemon, "journal = Kafka = ClickHouse")
rig.done()
