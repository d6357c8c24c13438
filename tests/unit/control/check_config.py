"""`sluiced --check-config` and a start: the files that sinks would read, the tables of windows, and the cores."""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SLUICED = sys.argv[1]
DIR = tempfile.mkdtemp(prefix="sluice_check_")
CONFIG = os.path.join(DIR, "c.yaml")


def file(name, text, mode=0o600):
    path = os.path.join(DIR, name)
    with open(path, "w", encoding="ascii") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def run(*settings, check=True):
    argv = [SLUICED, "--config", CONFIG, *(["--check-config"] if check else [])]
    for setting in settings:
        argv += ["--set", setting]
    r = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    return r.returncode, r.stdout + r.stderr


def good(*settings):
    code, said = run(*settings)
    assert code == 0, (settings, said)
    return said


def bad(key, *settings):
    """Refused with the key's name."""
    code, said = run(*settings)
    assert code == 1 and key in said, (settings, said)


KAFKA = ("kafka.enabled=true", "kafka.brokers=127.0.0.1:1")
SSL, SASL = (*KAFKA, "kafka.security=ssl"), (*KAFKA, "kafka.security=sasl_plaintext", "kafka.sasl_user=u")
CLICKHOUSE = ("clickhouse.enabled=true", "clickhouse.url=http://127.0.0.1:1")
HTTPS = ("clickhouse.enabled=true", "clickhouse.url=https://127.0.0.1:1")
WEBHOOK = ("webhook.enabled=true", "webhook.url=https://127.0.0.1:1/")


def files():
    secret, shown, junk = file("secret", "word\n"), file("shown", "word\n", 0o644), file("junk", "no PEM\n")
    none = os.path.join(DIR, "none")
    for on, key in ((CLICKHOUSE, "clickhouse.password_file"), (WEBHOOK, "webhook.token_file"),
                    (SASL, "kafka.sasl_password_file")):
        good(*on, f"{key}={secret}")
        bad(key, *on, f"{key}={none}")
        bad(f"{key}: others may read", *on, f"{key}={shown}")
    headers = file("headers", "X-Who: me\n")
    good(*WEBHOOK, f"webhook.headers_file={headers}")
    bad("webhook.headers_file", *WEBHOOK, f"webhook.headers_file={secret}")
    good(*SSL)
    for on, section in ((SSL, "kafka"), (HTTPS, "clickhouse"), (WEBHOOK, "webhook")):
        bad(f"{section}.ca_file", *on, f"{section}.ca_file={none}")
    for on, section in ((SSL, "kafka"), (HTTPS, "clickhouse")):
        bad(f"{section}.ca_file", *on, f"{section}.ca_file={junk}")
        bad(f"{section}.cert_file", *on, f"{section}.cert_file={none}", f"{section}.key_file={secret}")
        bad("go together", *on, f"{section}.cert_file={junk}")
    bad("kafka.key_file", *SSL, f"kafka.cert_file={junk}", f"kafka.key_file={shown}")
    bad("kafka.headers", *KAFKA, "kafka.headers=colour")
    bad("kafka.options", *KAFKA, "kafka.options=acks=1")
    # what nobody reads is not looked at
    good(f"clickhouse.password_file={none}", *KAFKA, f"kafka.ca_file={none}")


def tables_of_windows():
    """Windows whose tables in ClickHouse cannot be: no server is needed to see it."""
    def with_windows(name, windows):
        with open(CONFIG, encoding="ascii") as f:
            return ("--config", file(name, f.read() + f"windows: [{windows}]\n"))

    def said(*argv):
        done = subprocess.run([SLUICED, *argv, "--check-config"], capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    on = [word for s in CLICKHOUSE for word in ("--set", s)]
    taken = with_windows("taken.yaml", "{name: alerts, kind: session, gap: 1m, by: user_id, types: click}")
    code, text = said(*taken, *on)
    assert code == 1 and "window alerts would go to table alerts" in text, text
    assert said(*taken)[0] == 0  # nobody needs the table
    assert said(*taken, *on, "--set", "state.enabled=false")[0] == 0
    code, text = said(*with_windows("both.yaml", "{name: x_1m, aggregates: 'sum(value) as x'}, "
                                                 "{name: x_5m, size: 5m, aggregates: 'sum(amount) as x'}"), *on)
    assert code == 1 and "share table agg_x" in text, text
    code, text = said(*with_windows("wrong.yaml", "{name: x, size: 0}"), *on)
    assert code == 1 and "window x: size" in text, text


def windows_fit():
    """A window that no event can fit is valid, and noted."""
    with open(CONFIG, encoding="ascii") as f:
        path = file("fit.yaml", f.read() + "windows: [{name: x, types: click, where: amount > 5}]\n")
    done = subprocess.run([SLUICED, "--config", path, "--check-config"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "note: window x: where: amount: none of the event types" in done.stdout, done
    assert "note: window" not in good()


def topics_of_windows():
    """A window's topic that is another key's: none of the keys shows it alone."""
    for prefix, key, settings in (("", "topic_alerts", ("kafka.topic_alerts=page_minute",)),
                                  ("a.", "topic_click", ("kafka.topic_click=a.page_minute",)),
                                  ("a.", "topics", ("kafka.topics=log=a.page_minute",))):
        settings = (*KAFKA, f"kafka.topic_aggregates={prefix}", *settings)
        bad(f"kafka.topic_aggregates: '{prefix}page_minute' of window page_minute is kafka.{key} too", *settings)
        good(*settings, "state.enabled=false")


def start_goes_on():
    """A sink's file that cannot be used is an error of the log: events are taken all the same."""
    settings = (*CLICKHOUSE, "clickhouse.password_file=/none")
    argv = [SLUICED, "--config", CONFIG] + [a for s in settings for a in ("--set", s)]
    with open(os.path.join(DIR, "log"), "w+b") as log:
        child = subprocess.Popen(argv, stdout=log, stderr=log)
        for _ in range(600):
            with open(log.name, encoding="utf-8", errors="replace") as f:
                said = f.read()
            if "running: " in said or child.poll() is not None:
                break
            time.sleep(0.1)
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0 and "running: " in said, said
    first = next(line for line in said.splitlines() if "clickhouse.password_file" in line)
    assert "level=error area=control" in first and "/none" in first, said


def cores():
    """A file may be for another machine: the check only says so. No machine has this core."""
    assert "worker.cores" not in good()
    for key in ("worker.cores", "eal.main_cores"):
        assert f"note: no start on this machine: {key}: '1023': there is no core 1023" in good(f"{key}=1023"), key
        code, said = run(f"{key}=1023", check=False)
        assert code == 1 and f"{key}: '1023'" in said and "it may run on" in said, said
    core = min(os.sched_getaffinity(0))
    assert "no start" not in good(f"worker.cores={core}", f"eal.main_cores={core}")


file("c.yaml", f"node: {{id: check, data_dir: {DIR}/data}}\neal: {{hugepages: false}}\ncontrol: {{socket: {DIR}/s}}\n"
     "ports:\n- {name: p0, device: \"net_ring0\"}\nlisteners:\n- {name: web, udp_port: 9000}\n")
files()
tables_of_windows()
topics_of_windows()
windows_fit()
cores()
start_goes_on()
shutil.rmtree(DIR)
print("check of configurations: ok")
