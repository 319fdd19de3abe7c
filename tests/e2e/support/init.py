"""The init of the machines under test: starts processes, reaps everything, ends it all.

Reads one JSON request a line from standard input and answers on standard output:

    {"op": "spawn", "argv": [...], "env": {...}, "stdin"|"stdout"|"stderr": PATH}   {"pid": 12}
    {"op": "end", "mark": "TESTBED=7"}                                          {"ended": [..]}
        kills whoever has this in its environment, and everything below it

Every process that it reaped is told as {"exit": PID, "code": N} or {"exit": PID, "signal": N}:
its own children and the orphans it adopted, as the init of a real machine would.

When standard input ends, the test binary has ended, however it did: every descendant is killed.
"""

import ctypes
import json
import os
import select
import signal
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
PR_CAPBSET_DROP = 24
CAP_SYS_BOOT = 22


def answer(message):
    data = (json.dumps(message) + "\n").encode()
    try:
        while data:
            data = data[os.write(1, data):]
    except BrokenPipeError:
        # The test binary has ended. There is still everything to end that it started.
        listen_no_more()


def listen_no_more():
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def reap():
    """Tells of every process that has ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if os.WIFSIGNALED(status):
            answer({"exit": pid, "signal": os.WTERMSIG(status)})
        else:
            answer({"exit": pid, "code": os.WEXITSTATUS(status)})


def spawn(request):
    def file(fd, path, flags):
        return (os.POSIX_SPAWN_OPEN, fd, path, flags, 0o644)

    out = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        request["argv"][0],
        request["argv"],
        request["env"],
        file_actions=[
            file(0, request["stdin"], os.O_RDONLY),
            file(1, request["stdout"], out),
            file(2, request["stderr"], out),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP},
    )
    return {"pid": pid}


def family():
    """The children of every process that is not a zombie."""
    children = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as stat:
                after_name = stat.read().rpartition(b")")[2].split()
        except OSError:
            continue
        state, parent = after_name[0], int(after_name[1])
        if state != b"Z":
            children.setdefault(parent, []).append(int(name))
    return children


def descendants(children, roots):
    """Every process below these, the nearest first."""
    found = []
    wave = [child for pid in roots for child in children.get(pid, [])]
    while wave:
        found += wave
        wave = [child for pid in wave for child in children.get(pid, [])]
    return found


def marked(pid, mark):
    try:
        with open(f"/proc/{pid}/environ", "rb") as environ:
            return mark in environ.read().split(b"\0")
    except OSError:
        return False


def end(mark=None):
    """Kills our descendants with this mark and everything below them; without a mark, all.

    It goes on until none is left: one that was forking may have left a child behind. Who was
    killed has lost its environment some time before it is gone.
    """
    killed = set()
    while True:
        children = family()
        ours = descendants(children, [os.getpid()])
        if mark is None:
            wanted = ours
        else:
            roots = [pid for pid in ours if marked(pid, mark)]
            wanted = roots + descendants(children, roots)
        for pid in set(wanted) - killed:
            try:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            except ProcessLookupError:
                pass
        reap()
        if not wanted and killed.isdisjoint(ours):
            return {"ended": sorted(killed)}
        time.sleep(0.001)


def serve(request):
    if request["op"] == "spawn":
        try:
            return spawn(request)
        except OSError as error:
            return {"error": str(error)}
    return end(request["mark"].encode())


def main():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # Nothing started below can power this machine off with reboot(2), not even as root.
    libc.prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT, 0, 0, 0)

    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # What ends a test run reaches its whole group; this process ends last.
    for ending in [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]:
        signal.signal(ending, signal.SIG_IGN)

    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(wake_read, select.POLLIN)
    pending = b""
    while True:
        ready = dict(poll.poll())
        if wake_read in ready:
            os.read(wake_read, 4096)
            reap()
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                break
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                answer(serve(json.loads(line)))
    listen_no_more()
    end()


sys.exit(main())
