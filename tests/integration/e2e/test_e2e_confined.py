"""What a running daemon may do: packets of a kernel sender by af_packet into one real broker and the real engine, both
known by a host name, a third server whose name does not exist, tables, rulesets, a canary, a checkpoint; ClickHouse is
killed and comes back, the broker as well.

Shown: every thread has the filter of system calls and no capability but ipc_lock; none of all this makes a call that is
refused; connections made anew find their names; at the end journal, Kafka and ClickHouse have the same events. With
control.seccomp: off there is no filter."""
import json
import os
import sys

from daemon import UDP_PORT, Daemon
from netns import Sender
from rig import Rig, wait_until

IPC_LOCK = 1 << 14
RULES = "rules:\n- {{id: all{n}, when: {{type: click}}, then: [tag]}}\n" \
        "- {{id: burst{n}, when: {{type: click}}, by: user_id, count: {{at_least: 5, within: 1m}}, then: [alert]}}\n"


def threads(daemon):
    """name -> (mode of seccomp, capabilities) of every thread."""
    found, base = {}, f"/proc/{daemon.child.pid}/task"
    for tid in os.listdir(base):
        try:
            with open(f"{base}/{tid}/status", encoding="ascii") as f:
                lines = dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)
        except OSError:
            continue
        found[f"{lines['Name']}/{tid}"] = (int(lines["Seccomp"]), int(lines["CapEff"], 16) | int(lines["CapPrm"], 16))
    return found


def check_threads(rig, daemon, mode, what):
    found = threads(daemon)
    bad = {k: v for k, v in found.items() if v[0] != mode or v[1] & ~IPC_LOCK}
    rig.expect(found and not bad, f"{what}: {len(found)} threads, seccomp mode {mode}, ipc_lock at most {bad or ''}")


def rules_write(rig, n):
    with open(rig.path(f"r{n}.yaml"), "w", encoding="ascii") as f:
        f.write(RULES.format(n=n))
    return rig.path(f"r{n}.yaml")


def metric(daemon, name):
    text = json.dumps(daemon.ctl("metrics")).replace("\\n", "\n")
    return [float(line.split()[-1].strip('"}')) for line in text.splitlines() if line.startswith(name + " ")]


def go_through_all(rig, daemon):
    for words in (["rules", "apply", rules_write(rig, 1)], ["rules", "canary", rules_write(rig, 2)],
                  ["rules", "promote"],
                  ["rules", "rollback"], ["rules", "history"], ["enrich", "reload"], ["checkpoint", "now"],
                  ["checkpoint", "savepoint", "one"], ["alerts", "list"], ["windows", "rows", "clicks"], ["ports"],
                  ["log-level", "debug"]):
        rig.expect(daemon.ctl(*words) is not None, "sluicectl " + " ".join(words[:2]))
    for server, name in ((rig.clickhouse, "clickhouse"), (rig.kafka, "kafka")):
        if name == "kafka":
            server.kill(1)
        else:
            server.kill()
        before = daemon.counter("accepted")
        rig.expect(wait_until(lambda b=before: daemon.counter("accepted") > b + 5000, 90, "events without " + name),
                   f"events are taken without {name}")
        if name == "kafka":
            server.up(1)
        else:
            rig.expect(server.start() == 0, "ClickHouse again")


with Rig(sys.argv[1], kafka=1, clickhouse=True, root=True) as rig:
    sender = Sender(rig)
    with open(rig.path("segments.csv"), "w", encoding="ascii") as f:
        f.write("user,segment\nu000001,gold\n")
    daemon = Daemon(rig, "confined", sender.af_packet(),
                    kafka={"brokers": f"broker.invalid:9092,localhost:{rig.kafka.port + 1}"},
                    clickhouse={"url": f"http://localhost:{rig.clickhouse.http}"},
                    webhook={"enabled": True, "url": "http://receiver.invalid:9/", "retry_max": "1s"})
    daemon.config["lookups"] = [{"name": "segments", "file": rig.path("segments.csv"), "to": "user_segment"}]
    daemon.config["windows"] = [{"name": "clicks", "size": "1s", "by": "page", "types": "click"}]
    rig.expect(daemon.start(), "sluiced runs")
    check_threads(rig, daemon, 2, "at the start")
    # for as long as it takes: what follows needs events at each of its steps
    gen = sender.gen("confined", 4, UDP_PORT, rate=5000, duration=600, events_per_datagram=3, fraud_permille=20)
    wait_until(lambda: daemon.counter("events") > 1000, 60, "the first events")
    go_through_all(rig, daemon)
    rig.gen_stop("confined", gen)
    # a mark or a tick may be under way at any moment
    drained = wait_until(lambda: all(s["lag_events"] < 100 for s in daemon.ctl("sinks")["sinks"]
                                     if "webhook" not in s["sink"]), 150, "sinks that have delivered all")
    rig.expect(drained, "Kafka and ClickHouse have what came")
    daemon.expect_no_kernel_drops()
    check_threads(rig, daemon, 2, "after all this")
    rig.expect(metric(daemon, "sluice_refused_calls_total") == [0.0], "no call was refused")
    rig.expect(daemon.ctl("stop", "--now") is not None and daemon.wait_dead(60) == 0, "stop --now")
    daemon.config["webhook"]["enabled"] = False
    daemon.config["control"]["seccomp"] = "off"
    rig.expect(daemon.start(), "sluiced runs with control.seccomp: off")
    check_threads(rig, daemon, 0, "without the filter")
    rig.expect(daemon.drain(), "drained")
    daemon.expect_balanced("drained")
    daemon.stop_well("at the end")
    rig.verify(daemon, "journal = Kafka = ClickHouse", truth="confined.truth")
rig.done()
