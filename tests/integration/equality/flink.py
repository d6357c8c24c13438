"""Runs the Flink peer (perf/peers/flink) on an exported journal and reads its rows."""
import glob
import os
import subprocess

SOURCE = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))
PEER = os.path.join(SOURCE, "perf", "peers", "flink")
OPENS = [f"--add-opens=java.base/java.{p}=ALL-UNNAMED" for p in ("lang", "util", "time")]
ABSENT, BETWEEN = "\x1e", "\x1f"


def libs():
    return os.environ.get("SLUICE_FLINK_LIBS", os.path.expanduser("~/.cache/sluice/flink-libs"))


def missing():
    """What is not there, or None."""
    # All of the peer is compiled.
    for jar in ("flink-streaming-java", "flink-connector-kafka", "flink-cep", "flink-table-planner-loader"):
        if not glob.glob(os.path.join(libs(), jar + "-*.jar")):
            return f"no {jar}: ./run deps"
    if not any(os.access(os.path.join(p, "javac"), os.X_OK) for p in os.environ["PATH"].split(":")):
        return "no javac"
    return None


def build(scratch):
    """Compiles the peer; returns the class path."""
    classes = os.path.join(scratch, "classes")
    sources = sorted(glob.glob(os.path.join(PEER, "src/main/java/sluice/peer/*.java")))
    subprocess.run(["javac", "-nowarn", "-d", classes, "-cp", os.path.join(libs(), "*"), *sources], check=True,
                   timeout=300)
    return classes + ":" + os.path.join(libs(), "*")


def java(class_path, name, heap, *more):
    """Command line of one of the peer's programs."""
    return ["java", f"-Xmx{heap}", "-XX:+UseParallelGC", *OPENS,
            "-Dlog4j2.configurationFile=" + os.path.join(PEER, "log4j2.properties"), "-cp", class_path,
            "sluice.peer." + name, *more]


def topics(class_path, brokers, **partitions):
    """Makes topics of so many partitions each."""
    named = [f"{topic}={n}" for topic, n in partitions.items()]
    subprocess.run(java(class_path, "Topics", "256m", brokers, *named), check=True, timeout=300)


def words(arguments):
    return [f"{k}={v}" for k, v in arguments.items()]


def windows(class_path, exported, jobs):
    """Windows over an exported journal, a dict of arguments each, by one process."""
    more = [word for job in jobs[1:] for word in ["--", "in=" + exported, *words(job)]]
    run(class_path, more=more, **{"in": exported}, **jobs[0])


def run(class_path, heap="3g", program="Windows", more=(), **arguments):
    """One job, or several; returns the last closing line as a dict."""
    args = java(class_path, program, heap, *words(arguments), *more)
    out = subprocess.run(args, capture_output=True, text=True, timeout=3600, check=False)
    lines = [x for x in out.stdout.splitlines() if x.startswith("events=")]
    if out.returncode or not lines:
        raise RuntimeError(f"Flink: {out.returncode}: {out.stdout[-2000:]} {out.stderr[-3000:]}")
    return dict(pair.split("=") for pair in lines[-1].split())


def number(text):
    return float("nan") if text == "NaN" else float(text)


def text(column):
    return None if column == ABSENT else column


def rows(prefix):
    """(start, end, key parts) to the list of firings, each a dict."""
    found = {}
    for path in glob.glob(glob.escape(prefix) + ".[0-9]*"):
        with open(path, encoding="utf-8") as f:
            for line in f:
                c = line.rstrip("\n").split("\t")
                parts = tuple(map(text, c[2].split(BETWEEN)))
                row = {"count": int(c[3]), "micros": int(c[4]), "amounts": int(c[5]), "values": int(c[6]),
                       "sum": number(c[7]), "min": number(c[8]), "max": number(c[9])}
                if len(c) > 10:
                    row.update(distinct=int(c[10]), p50=number(c[11]), p95=number(c[12]), p99=number(c[13]))
                if len(c) > 14:
                    row.update(counted=int(c[14]), first=text(c[15]), last=text(c[16]))
                found.setdefault((int(c[0]), int(c[1]), parts), []).append(row)
    return found
