"""Finds and ends the processes of one test, by their pids."""

import os
import signal
import time

# In seconds; a process that was killed is gone when the kernel has taken it apart.
PATIENCE = 20


def find_all(mark, path):
    """Pids of processes with `mark` as an entry of their environment, or with `path` in their
    arguments, or working in it. Not this process, and none that has ended."""
    path = os.fsencode(path)
    mark = os.fsencode(mark) if mark else None
    return [pid for pid in pids() if pid != os.getpid() and is_of(pid, mark, path)]


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def is_of(pid, mark, path):
    if path in read(pid, "cmdline"):
        return True
    if mark and mark in read(pid, "environ").split(b"\0"):
        return True
    try:
        return os.readlink(f"/proc/{pid}/cwd".encode()).startswith(path)
    except OSError:
        return False


def read(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""  # It has ended, or is another user's.


def parent(pid):
    """None when the process is gone."""
    fields = read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else None


def end_all(find):
    """SIGKILL to all that `find()` finds, until it finds nothing."""
    give_up = time.monotonic() + PATIENCE
    while left := find():
        if time.monotonic() > give_up:
            raise AssertionError(f"processes that do not end: {left}")
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)
