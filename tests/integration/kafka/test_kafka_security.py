"""TLS and SASL with a real broker: what is configured is spoken, and what is wrong delivers nothing and says why."""
import atexit
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "clickhouse"))
import tls_front  # noqa: E402
from kafka_rig import LIMIT, Rig  # noqa: E402

folder = tempfile.mkdtemp(prefix="sluice-kafka-tls-")
atexit.register(shutil.rmtree, folder, ignore_errors=True)
tls_front.certificates(folder)
os.environ["SLUICE_KAFKA_TLS"] = folder
SSL, SASL_SSL = "1", "3"
PLAIN, SCRAM_512 = "0", "2"


def file(name, text=None, mode=0o600):
    path = os.path.join(folder, name)
    if text is not None:
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        os.chmod(path, mode)
    return path


def setting(**values):
    for name in [n for n in os.environ if n.startswith("RIG_")]:
        del os.environ[name]
    os.environ.update(values)


with Rig(1, 21951) as rig:
    plain, rig.brokers = rig.brokers, None
    sasl, tls = f"127.0.0.1:{rig.port + 201}", f"127.0.0.1:{rig.port + 301}"
    password = file("password", "open sesame\n")
    good = {"RIG_CA": file("ca.pem"), "RIG_USER": "alice", "RIG_PASSWORD": password, "RIG_SECURITY": SASL_SSL}
    certificates = {"RIG_CA": file("ca.pem"), "RIG_SECURITY": SSL, "RIG_CERT": file("client.pem"),
                    "RIG_KEY": file("client.key")}

    def delivers(name, brokers, **values):
        setting(**values)
        rig.expect(rig.feed(name, 5000, brokers=brokers) == 0, f"{name}: delivered")
        rig.brokers = plain
        rig.compare(name, name)

    def refuses(name, brokers, text, **values):
        setting(**values)
        child = rig.start(name, 10 ** 9, rate=100, brokers=brokers, drain_ms=500)
        rig.wait(lambda: child.poll() is not None or text in rig.log(name))
        child.terminate()
        rig.expect(child.wait(LIMIT) > 0, f"{name}: not delivered")
        rig.expect(text in rig.log(name), f"{name}: its log says '{text}'")
        rig.expect("open sesame" not in rig.log(name), f"{name}: no password in its log")

    delivers("scram", sasl, **good, RIG_SASL_MECHANISM=SCRAM_512)
    delivers("plain", sasl, **good, RIG_SASL_MECHANISM=PLAIN)
    delivers("certificates", tls, **certificates)
    delivers("headers", plain, RIG_HEADERS="address,event-id,type,source")
    seen = rig.kcat("-C", "-t", "headers.click", "-e", "-c", "1", "-f", "%h").stdout.decode()
    rig.expect("type=click" in seen and ",source=" in seen and "content-type" not in seen,
               f"headers as asked for: {seen}")
    wrong = dict(good, RIG_PASSWORD=file("wrong", "abracadabra\n"), RIG_SASL_MECHANISM=SCRAM_512)
    refuses("wrong-password", sasl, "uthentication", **wrong)
    refuses("stranger", sasl, "certificate verify failed",
            **dict(good, RIG_CA=file("stranger.pem"), RIG_SASL_MECHANISM=SCRAM_512))
    refuses("readable", sasl, "kafka.sasl_password_file", **dict(good, RIG_PASSWORD=file("open", "open sesame", 0o644)))
    refuses("no-user", sasl, "sasl_user", **dict(good, RIG_USER=""))
    refuses("no-certificate", tls, "SSL", **{"RIG_CA": file("ca.pem"), "RIG_SECURITY": SSL})
    refuses("header-word", plain, "kafka.headers: 'colour'", RIG_HEADERS="address,colour")
rig.done()
