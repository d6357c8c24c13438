"""sluiced and sluicectl for real, on a pcap port: start, ledger, rules, restart, kill -9, drain, second signal."""
import atexit
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import uuid

SLUICED, SLUICECTL = sys.argv[1:3]
DIR = tempfile.mkdtemp(prefix="sluice_life_")
SOCKET, DATA, CONFIG = (os.path.join(DIR, n) for n in ("s.sock", "data", "c.yaml"))
EVIL = "\x9b2J\u202e"  # what a terminal would obey, or show backwards


def frame(payload):
    udp = struct.pack(">HHHH", 40000, 9000, 8 + len(payload), 0) + payload
    head = struct.pack(">BBHHHBBHII", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, 0x0A000001, 0x0A000002)
    total = sum(struct.unpack(">10H", head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack(">H", total ^ 0xFFFF) + head[12:]
    return bytes.fromhex("020000000002020000000001") + b"\x08\x00" + head + udp


def write_input():
    """300 good events (10 of them twice), 7 bad ones, 5 frames that are not IP. Returns the ids."""
    now, ids, lines = int(time.time() * 1000), [], []
    for i in range(300):
        ids.append(str(uuid.UUID(int=(i + 1) << 64 | 0x8000_0000_0000_0001)))
        lines.append(json.dumps({"event_id": ids[-1], "user_id": f"u{i % 37}", "ts": now, "page": f"/p/{i}" + EVIL},
                                ensure_ascii=False))
    lines += lines[:10] + ["{bad"] * 7
    frames = [frame("\n".join(lines[i:i + 4]).encode()) for i in range(0, len(lines), 4)]
    frames += [b"\xff" * 12 + b"\x88\xcc" + b"x" * 50] * 5
    with open(os.path.join(DIR, "in.pcap"), "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for fr in frames:
            f.write(struct.pack("<IIII", 0, 0, len(fr), len(fr)) + fr)
    return set(ids), len(frames)


def start(*more, config=CONFIG):
    log = open(os.path.join(DIR, "log"), "ab")
    p = subprocess.Popen([SLUICED, "--config", config, *more], stderr=log)
    atexit.register(p.kill)  # when a check fails, too
    wait(lambda: ctl("version", check=False)[0] == 0 or p.poll() is not None, "start")
    assert p.poll() is None, "sluiced did not start: " + open(os.path.join(DIR, "log")).read()[-2000:]
    return p


def ctl(*words, check=True):
    r = subprocess.run([SLUICECTL, "--socket", SOCKET, "--json", *words], capture_output=True, text=True)
    if check:
        assert r.returncode == 0, (words, r.returncode, r.stderr)
    return r.returncode, r.stdout, r.stderr


def result(*words):
    return json.loads(ctl(*words)[1])


def wait(what, name, seconds=60):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain for: " + name
        time.sleep(0.05)


def ended(p, code):
    assert p.wait(60) == code, (p.returncode, open(os.path.join(DIR, "log")).read()[-2000:])


def rule(name, prefix):
    path = os.path.join(DIR, name + ".yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"rules:\n  - id: {name}\n    title: {name}\n    severity: low\n"
                f"    when: {{page: {{prefix: {prefix}}}}}\n    then: [alert, tag]\n")
    return path


def settled():
    return result("status")["input_ended"] and result("ledger")["balanced"]


def first_run(ids, frames):
    p = start()
    wait(settled, "balance")
    s = result("status")
    assert s["phase"] == "running" and s["events"]["frames"] == frames
    assert (s["events"]["accepted"], s["events"]["journaled"], s["events"]["duplicates"]) == (310, 300, 10), s["events"]
    assert {d["reason"]: d["count"] for d in s["drops"]} == {"not_ip": 5, "bad_json": 7, "duplicate": 10}, s["drops"]
    other = subprocess.run([SLUICED, "--config", CONFIG], capture_output=True, text=True)
    assert other.returncode == 1 and "another daemon answers" in other.stderr
    dump = ctl("journal", "dump")[1]
    assert dump.isprintable() or all(c == "\n" or c.isprintable() for c in dump)
    assert any(EVIL in json.loads(line)["payload"] for line in dump.splitlines())
    assert set(ctl("journal", "dump", "--ids")[1].split()) == ids
    assert ctl("stop")[0] == 0
    ended(p, 0)
    assert not os.path.exists(SOCKET)


def rules_of_files(generation):
    """Lists in files of their own, expired rules, state, and the journal's note of each generation."""
    path, values = os.path.join(DIR, "with.yaml"), os.path.join(DIR, "pages.txt")
    with open(path, "w", encoding="utf-8") as f:
        f.write("rules:\n- {id: listed, when: {page: {in: {file: pages.txt}}}, then: tag}\n"
                "- {id: old, when: {page: /x}, then: tag, expires: 2020-01-01}\n"
                "- {id: counted, when: {page: /x}, by: country, count: {at_least: 2, within: 1m}, then: alert,\n"
                "   tests: [{send: [{page: /x, country: DE, ts: 1}], expect: none}]}\n")
    with open(values, "w", encoding="utf-8") as f:
        f.writelines("/page/%d\n" % i for i in range(100000))
    first = result("rules", "apply", path)
    assert first["rules"] == 3, first
    assert any("rule old has expired" in w for w in first["warnings"]), first
    with open(path, encoding="utf-8") as f:
        text = f.read()
    wrong = os.path.join(DIR, "wrong.yaml")
    with open(wrong, "w", encoding="utf-8") as f:
        f.write(text.replace("expect: none", "expect: alert"))
    code, _, text = ctl("rules", "apply", wrong, check=False)
    assert code == 1 and "counted" in text, text  # samples of rules with state are run, too
    assert result("rules", "list")["generation"] == first["generation"]
    with open(values, "a", encoding="utf-8") as f:
        f.write("/another\n")
    diff = result("rules", "diff", path)  # a list that is longer by one value
    assert [(c["rule"], c["change"]) for c in diff["changes"]] == [("listed", "changed")] and diff["same"] == 2, diff
    second = result("rules", "apply", path)
    assert second["generation"] == first["generation"] + 1, (first, second)
    os.remove(values)
    code, _, text = ctl("rules", "check", path, check=False)
    assert code == 1 and "with.yaml:2:" in text and "pages.txt" in text, text
    assert result("rules", "apply", rule("eee", "/p/5"))["rules"] == 1
    diff = result("rules", "diff", "--generation", str(second["generation"]))
    assert {(c["rule"], c["change"]) for c in diff["changes"]} == {
        ("eee", "gone"), ("listed", "new"), ("old", "new"), ("counted", "new")} and diff["same"] == 0, diff
    diff = result("rules", "diff", rule("eee", "/p/6"), rule("fff", "/p/5"))
    assert {(c["rule"], c["change"]) for c in diff["changes"]} == {("eee", "changed"), ("fff", "new")}, diff
    assert result("rules", "diff", rule("eee", "/p/5"))["same"] == 1
    assert result("rules", "rollback")["rules"] == 3  # the generation has its list
    notes = [json.loads(line)["payload"] for line in ctl("journal", "dump")[1].splitlines()]
    for g in range(generation, second["generation"] + 1):
        assert "event=rules generation=%d" % g in notes, (g, [n for n in notes if n.startswith("event=rules")])


def rules_run():
    p = start()
    a, b = rule("aaa", "/p/1"), rule("bbb", "/p/2")
    both = rule("ccc", "/p/3"), rule("ddd", "/p/4")
    assert result("rules", "apply", a)["rules"] == 1
    g = result("rules", "apply", b)["generation"]
    with open(a, "a", encoding="utf-8") as f:
        f.write("  - broken\n")
    code, _, text = ctl("rules", "apply", a, check=False)
    assert code == 1 and "aaa.yaml:" in text
    assert result("rules", "list")["generation"] == g  # a bad file changes nothing
    assert result("rules", "rollback")["rules"] == 1
    assert result("rules", "list")["rules"][0]["id"] == "aaa"
    assert ctl("rules", "show", "bbb", check=False)[0] == 1
    assert result("rules", "apply", both[0], both[1])["rules"] == 2
    assert result("rules", "apply", both[0])["rules"] == 1
    assert result("rules", "rollback")["rules"] == 2  # a generation of two files is one ruleset
    assert result("rules", "rollback")["rules"] == 1  # and not forward again to what was rolled back
    assert result("rules", "list")["rules"][0]["id"] == "aaa"
    assert result("rules", "rollback")["rules"] == 0  # the start's
    code, _, text = ctl("rules", "rollback", check=False)
    assert code == 1 and "nothing was in force before" in text, text
    assert result("rules", "apply", both[0], both[1])["rules"] == 2
    changes = result("rules", "history", "--last", "3")["changes"]
    assert [c["action"] for c in changes] == ["apply", "rollback", "rollback"], changes
    assert changes[0]["to"] == result("rules", "list")["generation"]
    assert changes[0]["to_version"] == result("rules", "list")["version"]
    assert changes[0]["from"] == changes[1]["to"] and changes[0]["uid"] == os.getuid()
    rules_of_files(g)
    assert result("rules", "apply", *both)["rules"] == 2
    audit = open(os.path.join(DATA, "rules-audit.log")).read().splitlines()
    assert [line.split()[1] for line in audit] == ["action=" + a for a in (
        "start", "apply", "apply", "rollback", "apply", "apply", "rollback", "rollback", "rollback", "apply",
        "apply", "apply", "apply", "rollback", "apply")]
    assert "uid=%d" % os.getuid() in audit[0]
    p.kill()  # the socket file is left over
    p.wait()
    assert os.path.exists(SOCKET)
    p = start()
    ids = [r["id"] for r in result("rules", "list")["rules"]]
    assert ids == ["ccc", "ddd"], ids  # what was applied stays over a restart
    assert result("status")["events"]["journaled"] == 0
    wait(settled, "balance after kill")
    p.send_signal(signal.SIGTERM)
    ended(p, 0)


def canary_run():
    """Rules that only count, over a restart; promoted, ended, rolled back; and a generation that is not kept."""
    p = start()
    a, b = rule("aaa", "/p/1"), rule("bbb", "/p/2")
    first = result("rules", "apply", a)["generation"]
    for words, text in ((("canary", a), "nothing to try"), (("promote",), "no canary"),
                        (("canary", "--stop"), "no canary"), (("canary", a, "--stop"), "files, or --stop"),
                        (("canary",), "rules.dir is not set"), (("apply",), "rules.dir is not set"),
                        (("rollback", "--generation", "9999"), "generation 9999 is not kept")):
        code, _, said = ctl("rules", *words, check=False)
        assert code == 1 and text in said and os.sep + "rulesets" not in said, (words, said)
    assert result("rules", "list")["generation"] == first

    def shown():
        stats = result("rules", "stats")
        listed = result("rules", "list")
        return {r["id"]: r["change"] for r in stats["canary"]}, (listed["generation"], listed["count"],
                [(r["id"], r["mode"]) for r in listed["rules"]])

    begun = result("rules", "canary", b)
    assert (begun["rules"], begun["canaries"], begun["generation"]) == (1, 1, first + 1), begun
    assert begun["warnings"] == ["not in these files, so that `rules promote` takes them out of force (1 rule): aaa"]
    changes, listed = shown()
    assert changes == {"aaa": "gone", "bbb": "new"}, changes
    assert listed == (first + 1, 1, [("aaa", "in force"), ("bbb", "canary")]), listed
    assert result("rules", "show", "bbb")["mode"] == "canary"
    assert result("rules", "diff", a)["same"] == 1 and not result("rules", "diff", a)["changes"]
    p.kill()
    p.wait()
    p = start()
    assert shown() == (changes, listed), "a canary goes on over a restart"
    changed = rule("aaa", "/p")
    assert result("rules", "canary", changed)["canaries"] == 1  # in the place of the first
    assert shown()[0] == {"aaa": "changed"}
    assert result("rules", "show", "aaa")["canary"]["change"] == "changed"
    promoted = result("rules", "promote")
    assert (promoted["rules"], promoted["canaries"]) == (1, 0), promoted
    assert shown()[0] == {} and result("rules", "diff", changed)["same"] == 1
    assert result("rules", "rollback")["generation"] == promoted["generation"] + 1  # to what was in force before
    assert result("rules", "diff", rule("aaa", "/p/1"))["same"] == 1
    now = result("rules", "canary", b)["generation"]
    assert result("rules", "canary", "--stop")["canaries"] == 0 and shown()[0] == {}
    back = result("rules", "rollback", "--generation", str(now))
    assert back["canaries"] == 0 and "had a canary" in back["warnings"][0], back
    result("rules", "canary", b)
    assert result("rules", "rollback")["canaries"] == 0 and result("rules", "list")["rules"][0]["id"] == "aaa"
    result("rules", "canary", b)
    ended_by = result("rules", "apply", b)["warnings"]
    assert "canary has ended" in ended_by[0] and ended_by[1] == "not in force any more (1 rule): aaa", ended_by
    history = result("rules", "history", "--last", "11")["changes"]
    assert [c["action"] for c in history] == [
        "apply", "canary", "rollback", "canary", "rollback", "canary-stop", "canary", "rollback", "promote", "canary",
        "canary"], history
    assert all(c["uid"] == os.getuid() for c in history)
    first = result("rules", "history", "--last", "1000")["changes"][-1]
    assert (first["action"], first["from"], first["from_version"], first["to"]) == ("start", 0, "none", 1), first
    result("rules", "apply", rule("ccc", "/p/3"), rule("ddd", "/p/4"))
    p.send_signal(signal.SIGTERM)
    ended(p, 0)


def drain_run():
    """A sink that cannot reach its target: the drain goes on, is visible, and can be hastened."""
    p = start("--kafka=127.0.0.1:1")
    code, _, text = ctl("drain", "--timeout", "1", check=False)
    assert code == 1 and "not drained" in text, text
    p.send_signal(signal.SIGTERM)
    wait(lambda: result("status")["phase"] == "draining", "draining")
    code, _, text = ctl("rules", "apply", rule("ccc", "/x"), check=False)
    assert code == 1 and "draining" in text, text
    assert ctl("stop", "--now")[0] == 0
    ended(p, 0)
    p = start("--kafka=127.0.0.1:1")
    p.send_signal(signal.SIGINT)
    wait(lambda: result("status")["phase"] == "draining", "draining")
    time.sleep(1)
    p.send_signal(signal.SIGTERM)
    ended(p, 1)
    p = start("--kafka=127.0.0.1:1")  # signals that come together are one: INT and TERM, since two of one may merge
    for signo in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):  # together, however slow we are
        p.send_signal(signo)
    wait(lambda: result("status")["phase"] == "draining", "draining")
    assert ctl("stop", "--now")[0] == 0
    ended(p, 0)


def kinds_of_lines(log):
    """Lines of librdkafka, by what they say, without what differs from one to the next."""
    kinds = {}
    for line in log.splitlines():
        found = re.search(r'area=kafka msg="([A-Z]+: .*)"', line)
        if found:
            kind = re.sub(r"\(after .*|[0-9]+ms", "", found.group(1))
            kinds[kind] = kinds.get(kind, 0) + 1
    return kinds


def away_run():
    """Brokers that are not there: `status` has the reason while it is connecting, and whenever it counts an error,
    and the log says each thing of that kind once a minute."""
    at = os.path.getsize(os.path.join(DIR, "log"))
    began = time.monotonic()
    p = start("--kafka=127.0.0.1:1")

    def sink():
        return next(s for s in result("status")["sinks"] if s["sink"] == "kafka")

    seen = []

    def reason():
        seen.append(sink())
        return seen[-1]["error"]

    wait(reason, "a reason")
    first = seen[-1]
    assert first["errors"] == 0 and first["state"] == "connecting" and "127.0.0.1:1" in first["error"], first
    failed = 0
    while failed < 3:
        s = sink()
        failed = failed + 1 if s["errors"] else 0
        assert s["error"], s
        time.sleep(0.5)
    assert "Connection refused" in s["error"], s
    with open(os.path.join(DIR, "log"), encoding="utf-8", errors="replace") as f:
        f.seek(at)
        kinds = kinds_of_lines(f.read())
    assert kinds and max(kinds.values()) <= 1 + (time.monotonic() - began) // 60, kinds
    assert ctl("stop", "--now")[0] == 0
    ended(p, 0)


def full_run():
    """A journal that is full for a sink that cannot reach its target: a restart must not take the oldest segment."""
    now = int(time.time() * 1000)
    with open(os.path.join(DIR, "in.pcap"), "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for i in range(16000):
            fr = frame(json.dumps({"user_id": f"u{i}", "ts": now, "page": "/" + "x" * 1200}).encode())
            f.write(struct.pack("<IIII", 0, 0, len(fr), len(fr)) + fr)
    more = ("--kafka=127.0.0.1:1", "--set", f"node.data_dir={DATA}-full", "--set", "journal.partitions=1")

    def partition():
        return result("stats")["partitions"][0]

    p = start(*more)
    wait(lambda: settled() and partition()["full"], "full journal")
    generation = result("rules", "list")["generation"]
    assert ctl("stop", "--now")[0] == 0
    ended(p, 0)
    shutil.rmtree(f"{DATA}-full/rulesets")
    p = start(*more)
    wait(settled, "balance of the full journal")
    assert result("rules", "list")["generation"] > generation, "a number that the journal names has come back"
    assert partition()["oldest"] == 0, "records that no sink has delivered are gone after a restart"
    assert ctl("stop", "--now")[0] == 0
    ended(p, 0)


def enrich_run():
    """Tables at start, reloaded, refused; the file may be cut once it is loaded; the journal has values and changes."""
    table, config = os.path.join(DIR, "segments.csv"), os.path.join(DIR, "enrich.yaml")

    def write(text):
        with open(table, "w", encoding="utf-8") as f:
            f.write(text)

    with open(config, "w", encoding="utf-8") as f:
        f.write(open(CONFIG, encoding="utf-8").read() + "lookups:\n"
                f"- {{name: segments, file: {table}, to: user_segment}}\n")
    more = ("--set", f"node.data_dir={DATA}-enrich")
    check = [SLUICED, "--config", config, "--check-config"]
    write("user,segment\nu1,gold\nu1,silver\n")
    bad = subprocess.run(check, capture_output=True, text=True)
    assert bad.returncode == 1 and "line 3: the key 'u1' is in line 2 already" in bad.stderr, bad.stderr
    write("user,segment\nu1,gold\nu2,\u00e9t\u00e9\n")
    assert subprocess.run(check, capture_output=True).returncode == 0
    p = start(*more, config=config)
    wait(settled, "balance with enrichment")
    first = result("enrich", "show")
    assert [(t["table"], t["rows"], t["hits"], t["misses"]) for t in first["tables"]] == [("segments", 2, 20, 290)]
    write("")  # cut while in use
    code, _, text = ctl("enrich", "reload", check=False)
    assert code == 1 and "nothing changed" in text and "empty" in text, text
    assert result("enrich", "show") == first
    write("user,segment\nu1,silver\n")
    assert result("enrich", "reload")["changed"] is True
    second = result("enrich", "show")
    assert second["version"] != first["version"] and second["tables"][0]["rows"] == 1
    assert result("enrich", "reload") == {"version": second["version"], "changed": False}
    assert 'sluice_enrich_hits_total{table="segments"} 20\n' in result("metrics")["text"]
    rows = [json.loads(line) for line in ctl("journal", "dump")[1].splitlines()]
    want = {"u1": {"user_segment": "gold"}, "u2": {"user_segment": "\u00e9t\u00e9"}}
    for row in rows:
        if row["kind"] == "event":
            assert row.get("enrichment") == want.get(json.loads(row["payload"])["user_id"]), row
    notes = [r["payload"] for r in rows if r["kind"] == "control" and "event=enrichment" in r["payload"]]
    assert notes == [f"event=enrichment version={v['version']}" for v in (first, second)] * 2, notes
    assert ctl("stop")[0] == 0
    ended(p, 0)


def try_run():
    """A backtest: "aaa" alerts on pages that begin with /p/1; ccc and ddd are in force, /p/3 and /p/4."""
    def pages(prefix):
        return sum(f"/p/{i}".startswith(prefix) for i in range(300))

    def tried(*words):
        return json.loads(ctl("rules", "try", rule("ccc", "/p/3"), rule("ddd", "/p/42"), rule("eee", "/p/5"),
                              "--dir", DATA, *words)[1])

    out = tried("--events", "2")
    assert out["events"] == 300 and out["faults"] == [], out
    got = {r["rule"]: (r["now"], r["then"], r["gained"], r["lost"], r["same"]) for r in out["alerts"]}
    c, d, d2, e = pages("/p/3"), pages("/p/4"), pages("/p/42"), pages("/p/5")
    assert got == {"ccc": (c, c, 0, 0, c), "ddd": (d, d2, 0, d - d2, d2), "eee": (0, e, e, 0, 0)}, got
    assert out["now"]["alerts"] == c + d and out["then"]["alerts"] == c + d2 + e
    shown = sorted((x["rule"], x["alert"]) for x in out["differences"])
    assert shown == [("ddd", "lost")] * 2 + [("eee", "gained")] * 2, shown
    ids = set(ctl("journal", "dump", "--ids", "--dir", os.path.join(DATA, "journal"))[1].split())
    assert all(x["event_id"] in ids for x in out["differences"])
    assert tried("--last", "1h")["events"] == 300
    assert tried("--to", "2020-01-01T00:00:00Z")["events"] == 0
    assert tried("--from", "2100-01-01T00:00:00Z")["events"] == 0
    for bad in (["--last", "1x"], ["--last", "1h", "--from", "5"], ["--against", "4000000000"], ["--dir", DIR]):
        assert ctl("rules", "try", rule("ccc", "/p/3"), *bad, *(["--dir", DATA] if "--dir" not in bad else []),
                   check=False)[0] == 1, bad
    assert not os.path.exists(os.path.join(DIR, "rulesets"))


def refused_found():
    """What was refused is not found by an id; what is said then leads to it."""
    journal, lost = os.path.join(DATA, "journal"), str(uuid.uuid4())
    code, _, text = ctl("event", "--journal", journal, lost.upper(), check=False)
    assert code == 1 and "refused" in text and f"journal dump --dir {journal} | grep -i {lost.upper()}" in text, text
    start_of_address = re.search(r"(\S+)/PARTITION/OFFSET", text).group(1)
    row = next(r for r in map(json.loads, ctl("journal", "dump", "--dir", journal)[1].splitlines())
               if r["kind"] == "refused")
    address = f"{start_of_address}/{row['partition']}/{row['offset']}"
    found = result("event", "--journal", journal, address)["records"]
    assert len(found) == 1 and found[0]["kind"] == "refused" and found[0]["reason"] == "bad_json", found
    code, _, text = ctl("event", "--journal", journal, f"{start_of_address}/0/999999999", check=False)
    assert code == 1 and "no event" in text and "refused" not in text, text


def offline():
    try_run()
    refused_found()
    for words in (("journal", "ls", "--dir"), ("journal", "verify", "--dir"), ("journal", "dump", "--dir"),
                  ("event", str(uuid.uuid4()), "--journal")):
        code, _, text = ctl(*words, DATA, check=False)
        assert code == 1 and f"No such file or directory: did you mean {DATA}/journal?" in text, text
        assert "did you mean" not in ctl(*words, DIR, check=False)[2], words
    code, out, _ = ctl("journal", "verify", "--dir", os.path.join(DATA, "journal"))
    assert code == 0 and json.loads(out)["damaged"] == 0
    assert ctl("status", check=False)[0] == 3
    assert ctl("nonsense", check=False)[0] == 2
    segment = max((os.path.join(d, f) for d, _, fs in os.walk(os.path.join(DATA, "journal", "p0")) for f in fs),
                  key=os.path.getsize)
    with open(segment, "r+b") as f:
        f.seek(4096 + 200)
        f.write(b"\x00\xff" * 40)
    code, out, _ = ctl("journal", "verify", "--dir", os.path.join(DATA, "journal"), check=False)
    assert code == 1 and json.loads(out)["damaged"] == 1, out


def main():
    ids, frames = write_input()
    with open(CONFIG, "w", encoding="utf-8") as f:
        f.write(f"node: {{id: life, data_dir: {DATA}}}\neal: {{hugepages: false, memory: 64MiB, mbufs: 2047}}\n"
                f"journal: {{partitions: 2, segment_bytes: 4MiB, segments_max: 3}}\ncontrol: {{socket: {SOCKET}}}\n"
                f"ports:\n- name: p0\n  device: \"net_pcap0,rx_pcap={DIR}/in.pcap\"\n"
                "listeners:\n- {name: web, udp_port: 9000}\n")
    assert subprocess.run([SLUICED, "--config", CONFIG, "--check-config"], capture_output=True).returncode == 0
    first_run(ids, frames)
    enrich_run()
    rules_run()
    canary_run()
    drain_run()
    away_run()
    offline()
    full_run()
    shutil.rmtree(DIR)
    print("daemon life: ok")


main()
