"""Ends what a test has left behind if the test itself was killed. A process of its own: it waits until its parent is
gone, then ends the servers whose process ids stand in the scratch directory, the network namespaces, the mounts."""
import glob
import os
import signal
import subprocess

LIST = "janitor.list"  # lines "netns NAME", "link NAME", "mount PATH"


def janitor_note(folder, kind, name):
    """Before a thing is made, so that it is known whenever the test ends."""
    with open(os.path.join(folder, LIST), "a", encoding="utf-8") as f:
        f.write(f"{kind} {name}\n")


def end_server(pid_file, folder):
    """Only if the process is still the one that was started for this directory."""
    try:
        with open(pid_file, encoding="ascii") as f:
            pid = int(f.read())
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            ours = folder.encode() in f.read()
        if ours:
            os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError):
        pass


def quiet(*args):
    subprocess.run(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def sweep(folder):
    for pid_file in glob.glob(os.path.join(folder, "kafka", "*.pid")) + glob.glob(os.path.join(folder, "ch", "pid")):
        end_server(pid_file, folder)
    try:
        with open(os.path.join(folder, LIST), encoding="utf-8") as f:
            lines = f.read().splitlines()
    except OSError:
        return
    for line in reversed(lines):
        kind, name = line.split(" ", 1)
        if kind == "netns":
            quiet("ip", "netns", "del", name)
        elif kind == "link":
            quiet("ip", "link", "del", name)
        elif kind == "mount":
            quiet("umount", name)


def janitor_start(folder):
    read_end, _write_end = os.pipe()  # the write end stays open in the parent, and in nobody else, until it ends
    if os.fork():
        os.close(read_end)
        return
    try:
        os.setsid()
        os.close(_write_end)
        for signo in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signo, signal.SIG_IGN)
        while os.read(read_end, 1):
            pass
        sweep(folder)
    finally:
        os._exit(0)
