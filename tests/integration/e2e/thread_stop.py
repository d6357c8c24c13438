"""Stops one thread of a process for a while, as a busy machine does that gives it no core: by ptrace, for signals stop
whole processes."""
import ctypes
import os
import signal
import time

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000  # waitpid: threads, too
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def threads_named(pid, prefix):
    """Thread ids, in the order of their names."""
    found = []
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{tid}/comm", encoding="ascii") as f:
                name = f.read().strip()
        except OSError:  # it has ended meanwhile
            continue
        if name.startswith(prefix):
            found.append((name, int(tid)))
    return [tid for _, tid in sorted(found)]


def trace(request, tid):
    if libc.ptrace(request, tid, None, None) != 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x} of thread {tid}")


def still(tids):
    for tid in tids:
        trace(SEIZE, tid)
        trace(INTERRUPT, tid)
        os.waitpid(tid, WALL)


def hold(tids, seconds):
    """They stand still for that time."""
    still(tids)
    time.sleep(seconds)
    for tid in tids:
        trace(DETACH, tid)


def hold_and_kill(pid, tids, seconds):
    """The same, and the process is killed while they do."""
    still(tids)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    for tid in tids:
        os.waitpid(tid, WALL)  # before it nobody sees the process's end
