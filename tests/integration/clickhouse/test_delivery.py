"""Exactly once from the journal to a real engine: test_delivery.py CHEMBED HTTP TCP CH_DELIVER SCENARIO"""
import os
import random
import shutil
import signal
import sys
import threading
import time

import delivery as d
import evil_http
import tls_front

POINTS = ("ch_intent", "ch_sent", "ch_answered", "ch_marked")


def plain(engine, part):
    """A journal of more than 100,000 events, in large ranges; then again nothing is left to do."""
    out = part.run(130000, CH_RANGE_EVENTS=20000)
    print(out.strip())
    d.compare(engine, part, 100000)
    out = part.run(0)
    if "events=0 " not in out:
        part.fail("delivered again: " + out)
    d.compare(engine, part, 100000)


def points(engine, part):
    """Killed at each durable step, early and late, one after the other on one journal."""
    for count in (1, 3, 10):
        for point in POINTS:
            part.run(3000, expected=-signal.SIGKILL, SLUICE_CRASH=f"{point}:{count}", CH_RANGE_EVENTS=300)
    out = part.run(0)
    print(out.strip())
    d.compare(engine, part, 20000)


def kills(engine, part):
    """Killed at random while it feeds and delivers."""
    rng = random.Random(int(os.environ.get("SLUICE_SEED", "1")))
    killed = 0
    while killed < 14:
        process = part.start(1000000, CH_RANGE_EVENTS=rng.choice((100, 500, 5000)), CH_FEED_PAUSE_MS=20)
        process.stdout.readline()
        time.sleep(rng.uniform(0.02, 0.9))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    out = part.run(6000, CH_RANGE_EVENTS=20000)
    print(f"{killed} kills; last run: {out.strip()}")
    d.compare(engine, part, 5000)


def forgets(engine, part):
    """Blocks that the server has lost and whose tokens it has kept are put back, once."""
    d.forgets(engine, part, d.TABLES, CH_RANGE_EVENTS=300)
    d.compare(engine, part, 10000)


def mutate_slowly(engine, table):
    """An operator's UPDATE that takes three seconds a block: until it ends nothing is attached to the table."""
    engine.query(f"ALTER TABLE rt.{table} UPDATE extra = if(sleep(2.9) = 0, extra, 'x') WHERE 1 "
                 "SETTINGS mutations_sync = 0, allow_nondeterministic_mutations = 1")


def forgets_slowly(engine, part):
    """What puts a block back takes longer than the sink waits for an answer: nothing of it is done twice."""
    part.run(500)
    for _ in range(8):  # the sink may come when what is slow is over
        engine.query("SYSTEM STOP MERGES")
        part.run(3000, expected=-signal.SIGKILL, SLUICE_CRASH="ch_answered:3", CH_RANGE_EVENTS=300)
        lost = d.forget(engine, part, d.TABLES, "clickhouse")
        engine.query("SYSTEM START MERGES")
        for table in ("clicks_raw", "events_raw") * 3:
            mutate_slowly(engine, table)
        process = part.start(0, CH_TIMEOUT_MS=300)
        d.wait_for("an attempt that takes long", lambda: process.poll() is not None or
                   "an earlier attempt still runs" in part.log_text())
        for table in ("clicks_raw", "events_raw"):
            engine.query(f"KILL MUTATION WHERE database = 'rt' AND table = '{table}'")
        out, _ = process.communicate(timeout=d.LIMIT)
        print(out.strip(), "parts that the server lost:", lost)
        if process.returncode or not lost:
            part.fail(f"exit {process.returncode}, {lost} parts were lost")
        if "an earlier attempt still runs" in part.log_text():
            break
    else:
        part.fail("nothing took long")
    d.compare(engine, part, 1000)


UNSEEN = """<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users>
<reader><password></password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota></reader>
<default><password></password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
<databases><rt><clicks_raw><filter>0</filter></clicks_raw></rt></databases></default></users></clickhouse>"""


def forgets_unseen(engine, part):
    """Rows that the sink's user does not see are not put back."""
    part.run(500)
    part.run(3000, expected=-signal.SIGKILL, SLUICE_CRASH="ch_answered:3", CH_RANGE_EVENTS=300)
    engine.kill()
    users, config = (os.path.join(engine.folder, name) for name in ("users.xml", "config.xml"))
    with open(users, "w", encoding="ascii") as f:
        f.write(UNSEEN)
    with open(config, "w", encoding="ascii") as f:
        f.write(f"<clickhouse><users_config>{users}</users_config><user_directories><users_xml><path>{users}</path>"
                "</users_xml></user_directories></clickhouse>")
    engine.arguments, engine.user = [f"--config-file={config}"], {"user": "reader"}
    engine.start()
    part.run(3000)
    if "there are row policies" not in part.log_text():
        part.fail("nobody has looked for rows")
    d.compare(engine, part, 1000)


def grows(engine):
    """Waits until inserts go on: what is then taken from under them has to be sent again."""
    def rows():
        return int(engine.query("SELECT count() FROM rt.clicks_raw"))

    before = rows()
    d.wait_for("more rows", lambda: rows() > before)


def engine_faults(engine, part):
    """The engine killed and restarted, then frozen for 10 s, with a materialized view that must not count twice."""
    part.run(0)
    engine.query("CREATE TABLE rt.agg (device String, n UInt64) ENGINE = SummingMergeTree ORDER BY device "
                 "SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1")
    engine.query("CREATE MATERIALIZED VIEW rt.mv TO rt.agg AS SELECT device, count() AS n FROM rt.clicks_raw "
                 "GROUP BY device")
    # Fed until the last fault is over, however long the engine takes to start.
    process = part.start(60000, CH_RANGE_EVENTS=1000, CH_TIMEOUT_MS=2000, CH_FEED_PAUSE_MS=30, CH_FEED_ON=1)
    process.stdout.readline()
    rng = random.Random(7)
    for _ in range(4):
        grows(engine)
        time.sleep(rng.uniform(0, 0.3))
        engine.crash()
    alive_before = process.poll() is None
    grows(engine)
    engine.signal(signal.SIGSTOP)
    time.sleep(10)
    engine.signal(signal.SIGCONT)
    process.send_signal(signal.SIGUSR1)
    out, _ = process.communicate(timeout=d.LIMIT)
    print(out.strip())
    if process.returncode or not alive_before or "retries=0 " in out:
        part.fail(f"exit {process.returncode}, or nothing had to be sent again: the engine was not away in time")
    d.compare(engine, part, 50000)
    counted = engine.query("SELECT (SELECT sum(n) FROM rt.agg) = (SELECT count() FROM rt.clicks_raw)")
    if counted.strip() != "1":
        part.fail("the materialized view counts otherwise than its table")


def frozen_stop(engine, part):
    """A stop ends although the server is frozen in the middle of everything; what was open is finished later."""
    process = part.start(10 ** 7, CH_DRAIN_MS=1000, CH_TIMEOUT_MS=600000, CH_FEED_PAUSE_MS=20)
    process.stdout.readline()
    # Not asked of the table itself: neither it nor its database need be there yet.
    d.wait_for("rows", lambda: engine.query("SELECT sum(total_rows) > 0 FROM system.tables WHERE database = 'rt' AND "
                                            "name = 'clicks_raw'").strip() == "1")
    engine.signal(signal.SIGSTOP)
    time.sleep(1.5)
    process.terminate()
    try:
        process.communicate(timeout=d.LIMIT)
    except d.subprocess.TimeoutExpired:
        process.kill()
        engine.signal(signal.SIGCONT)
        part.fail("does not stop while the server is frozen")
    engine.signal(signal.SIGCONT)
    if process.returncode != 4:
        part.fail(f"exit {process.returncode}, expected 4")
    part.run(0)
    d.compare(engine, part, 100)


def refused_with(part, text, feed=0, **env):
    before = len(part.log_text())
    part.run(feed, expected=3, **env)
    if text not in part.log_text()[before:]:
        part.fail(f"refused, but not with: {text}")


def refusals(engine, part):
    """Whatever would lose or double rows ends in a refusal that says why."""
    part.run(3000, CH_RANGE_EVENTS=500)
    intent = os.path.join(part.folder, "sinks/clickhouse/p1.intent")
    shutil.copy(intent, intent + ".kept")
    os.unlink(intent)
    refused_with(part, "p1.intent is missing or damaged, and rt.")
    # The operator's way out: what the server has is what was delivered.
    os.unlink(intent)
    last = max(int(engine.query(f"SELECT max(_offset) FROM rt.{table} WHERE _partition = 1"))
               for table in ("clicks_raw", "events_raw", "dead_letters"))
    ctl = os.path.join(os.path.dirname(sys.argv[1]), "..", "controlplane", "cli", "sluicectl")
    d.subprocess.run([ctl, "position", "clickhouse", "1", str(last + 1), "--dir", part.folder], check=True)
    part.run(100)
    engine.query("ALTER TABLE rt.clicks_raw MODIFY COLUMN page LowCardinality(String)")
    refused_with(part, "table rt.clicks_raw: column page has type LowCardinality(String), expected String")
    engine.query("ALTER TABLE rt.clicks_raw MODIFY COLUMN page String")
    engine.query("DROP TABLE rt.alerts SYNC")
    refused_with(part, "table rt.alerts does not exist", CH_NO_CREATE=1)
    # A pending range belongs to the server that it may have reached.
    part.run(500, expected=-signal.SIGKILL, SLUICE_CRASH="ch_sent:1")
    url, part.url = part.url, part.url.replace("127.0.0.1", "localhost")
    refused_with(part, "it must be finished there; leave it in clickhouse.url (now http://localhost:")
    part.url = url
    part.run(0)
    for table in ("clicks_raw", "events_raw", "dead_letters"):
        if int(engine.query(f"SELECT count() - uniqExact(_partition, _offset) FROM rt.{table}")):
            part.fail(f"{table} has doubles")


def aged(engine, part):
    """Ranges that are older than the server's memory of tokens: asked about, not blindly sent again."""
    for point in ("ch_intent", "ch_answered", "ch_sent"):
        part.run(2000, expected=-signal.SIGKILL, SLUICE_CRASH=f"{point}:2", CH_RANGE_EVENTS=400)
        # The server forgets all tokens, as after many other INSERTs.
        for table in d.TABLES:
            engine.query(f"ALTER TABLE rt.{table} MODIFY SETTING non_replicated_deduplication_window = 1")
            for i in range(2):
                time_column = "_receive_time" if table == "dead_letters" else "ts"
                engine.query(f"INSERT INTO rt.{table} ({time_column}, _node) VALUES (now(), 'other {point} {i}')")
            engine.query(f"ALTER TABLE rt.{table} MODIFY SETTING non_replicated_deduplication_window = 1000")
        time.sleep(1.2)  # a window of 100 tokens is trusted for 1 s
        part.run(0, CH_WINDOW=100)
    for table in d.TABLES:
        engine.query(f"DELETE FROM rt.{table} WHERE startsWith(_node, 'other') SETTINGS mutations_sync = 1")
    d.compare(engine, part, 5000)


def evil(engine, part):
    """Through a proxy that loses, breaks and invents answers, and a server that only lies."""
    seed = int(os.environ.get("SLUICE_SEED", "1"))
    direct, part.url = part.url, f"http://127.0.0.1:{evil_http.start(int(engine.http), seed)}"
    part.run(0)
    print(part.run(16000, CH_RANGE_EVENTS=400, CH_TIMEOUT_MS=1500).strip())
    print("faults:", dict(evil_http.FAULTS_DONE))
    if len(evil_http.FAULTS_DONE) < len(evil_http.FAULTS):
        part.fail("not all faults were met")
    part.run(0)
    d.compare(engine, part, 15000)
    part.url = direct


def tls(engine, part):
    """Over TLS with certificates of both sides; what is not trusted gets nothing."""
    folder, plain_url = part.folder, engine.url
    tls_front.certificates(folder)

    def file(name):
        return os.path.join(folder, name)

    good = dict(CH_CA=file("ca.pem"), CH_CERT=file("client.pem"), CH_KEY=file("client.key"))
    front = tls_front.start(folder, int(engine.http), client_wanted=True)
    for host, kind in (("127.0.0.1", 1), ("localhost", 2), ("127.0.0.1", 0)):
        part.url = f"https://{host}:{front}"
        print(part.run(20000, CH_RANGE_EVENTS=4000, CH_COMPRESSION=kind, **good).strip())
    d.compare(engine, part, 50000)
    refused_with(part, "certificate of", CH_CA=file("stranger.pem"))
    refused_with(part, "certificate of", CH_CA="")
    refused_with(part, "clickhouse.ca_file", CH_CA=file("nowhere.pem"))
    refused_with(part, "go together", CH_CA=file("ca.pem"), CH_CERT=file("client.pem"))
    os.chmod(file("client.key"), 0o644)
    refused_with(part, "clickhouse.key_file", **good)
    elsewhere = tls_front.start(folder, int(engine.http), name="elsewhere")
    part.url = f"https://127.0.0.1:{elsewhere}"
    refused_with(part, "IP address mismatch", CH_CA=file("ca.pem"))
    part.url = f"https://localhost:{elsewhere}"
    refused_with(part, "hostname mismatch", CH_CA=file("ca.pem"))
    part.run(1000, CH_NO_VERIFY=1, CH_CA=file("ca.pem"))
    # Neither is the other: an error that passes, as if the server were away.
    for url in (plain_url.replace("http:", "https:"), f"http://127.0.0.1:{elsewhere}", f"https://127.0.0.1:{front}"):
        part.url = url
        before = len(part.log_text())
        process = part.start(0, CH_CA=file("ca.pem"), CH_DRAIN_MS=100)
        process.stdout.readline()
        d.wait_for("an error", lambda: "area=clickhouse" in part.log_text()[before:])
        process.terminate()
        process.communicate(timeout=d.LIMIT)
        if process.returncode != 4:
            part.fail(f"{url}: exit {process.returncode}, expected 4")
    part.url = plain_url
    engine.revive()
    part.run(0)
    d.compare(engine, part, 50000)


def put_aside(engine, part):
    """The letters, of which each must be of a record that the constraint refuses, and there once."""
    places = [place for place, _ in d.letters(part)]
    if len(places) != len(set(places)):
        part.fail("a dead letter twice")
    if any(letter["name"] != "VIOLATED_CONSTRAINT" or not letter["raw"] for _, letter in d.letters(part)):
        part.fail("a dead letter without its reason or its bytes")
    d.compare(engine, part, 1000, but=set(places))
    return places


def poison(engine, part):
    """Rows that a constraint refuses are found and put aside, and the rest arrives, through a crash at each step."""
    part.run(0)
    engine.query("ALTER TABLE rt.clicks_raw ADD CONSTRAINT no77 CHECK user_id NOT IN ('u77', 'u377')")
    engine.query("ALTER TABLE rt.alerts ADD CONSTRAINT no40 CHECK rule_id != 'r-tag' AND key != 'u40'")
    print(part.run(12000, CH_RANGE_EVENTS=3000).strip())
    if not put_aside(engine, part):
        part.fail("nothing was put aside")
    for count in (1, 7):
        for point in ("ch_split", "ch_sent", "ch_answered", "ch_letter", "ch_marked"):
            process = part.start(2000, CH_RANGE_EVENTS=1500, SLUICE_CRASH=f"{point}:{count}")
            process.communicate(timeout=d.LIMIT)
            if process.returncode != -signal.SIGKILL and count == 1:
                part.fail(f"{point}:{count}: exit {process.returncode}")
    print(part.run(0).strip())
    tables = [place[0] for place in put_aside(engine, part)]
    print("put aside:", {table: tables.count(table) for table in set(tables)})
    if tables.count("clicks_raw") < 10 or tables.count("alerts") < 5:
        part.fail("too few rows were put aside")
    ctl = os.path.join(os.path.dirname(sys.argv[1]), "..", "controlplane", "cli", "sluicectl")
    shown = d.subprocess.run([ctl, "--json", "letters", "--dir", part.folder], check=True, capture_output=True,
                             text=True).stdout
    if sum(row["letters"] for row in d.json.loads(shown)["reasons"]) != len(tables):
        part.fail("sluicectl letters counts otherwise: " + shown[:500])
    refused_with(part, "clickhouse.letters_max", feed=6000, CH_LETTERS_MAX=4096)
    part.run(0)
    put_aside(engine, part)


def view_refuses(engine, part):
    """What a table has taken and its view refuses is neither put aside nor sent again in pieces."""
    part.run(0)
    engine.query("CREATE TABLE rt.seen (n UInt64) ENGINE = MergeTree ORDER BY n "
                 "SETTINGS non_replicated_deduplication_window = 10000")
    engine.query("CREATE MATERIALIZED VIEW rt.mv TO rt.seen AS SELECT throwIf(user_id = 'u77') AS n FROM rt.clicks_raw")
    process = part.start(3000)
    out, _ = process.communicate(timeout=d.LIMIT)
    print("exit", process.returncode, "letters:", len(d.letters(part)), out.strip())
    if process.returncode == 3 and "a materialized view refuses them" not in part.log_text():
        part.fail("refused for another reason")
    engine.query("DROP VIEW rt.mv")
    part.run(0)
    d.compare(engine, part, 2000, but={place for place, _ in d.letters(part)})


def slow_query(engine, token):
    """Runs until it is killed."""
    try:
        engine.query("SELECT sum(sleepEachRow(0.5)) FROM numbers(1000) SETTINGS max_block_size = 1, "
                     "insert_deduplication_token = '" + token.replace("'", "\\'") + "'")
    except d.urllib.error.HTTPError:
        pass


def too_large(engine, part):
    """A server without memory for a whole block gets it in pieces; nothing is put aside."""
    direct = part.url
    port, refused = evil_http.limit(int(engine.http), 60000)
    part.url = f"http://127.0.0.1:{port}"
    print(part.run(20000, CH_RANGE_EVENTS=4000).strip())
    part.run(6000, expected=-signal.SIGKILL, CH_RANGE_EVENTS=4000, SLUICE_CRASH="ch_split:3")
    part.run(0)
    # Sent before a crash, it may run yet: no piece goes before the server says that it does not.
    epoch = engine.query("SELECT any(_epoch) FROM rt.events_raw").strip()
    part.run(6000, expected=-signal.SIGKILL, CH_RANGE_EVENTS=4000, SLUICE_CRASH="ch_intent:1")
    tokens = [f"{int(epoch):016x}/it's node 1/{p}/rows" for p in range(4)]
    running = [threading.Thread(target=slow_query, args=(engine, token)) for token in tokens]
    for thread in running:
        thread.start()
    d.wait_for("running queries", lambda: int(engine.query(
        "SELECT count() FROM system.processes WHERE Settings['insert_deduplication_token'] != ''")) == len(running))
    process = part.start(0)
    d.wait_for("pieces that wait", lambda: process.poll() is not None or
               "an earlier INSERT of it still runs" in part.log_text())
    if process.poll() is not None:
        part.fail("went in pieces while something with its token ran")
    engine.query("KILL QUERY WHERE startsWith(query, 'SELECT sum(sleepEachRow') SYNC")
    for thread in running:
        thread.join()
    out, _ = process.communicate(timeout=d.LIMIT)
    if process.returncode:
        part.fail(f"exit {process.returncode}: {out}")
    print(f"{len(refused)} bodies were too large, up to {max(refused)} bytes")
    d.compare(engine, part, 20000)
    part.url = direct


d.scenario_run(plain, points, kills, forgets, forgets_slowly, forgets_unseen, engine_faults, frozen_stop, refusals,
               aged, evil, tls, poison, view_refuses, too_large)
