"""A place where supervisors are started and from which nothing is left behind.

Nothing in it can reach AWS or end the machine: the metadata service is off unless a fake one is
given, and powering off is the command `true`.
"""

import ctypes
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PR_SET_CHILD_SUBREAPER = 36
# Far more than anything here takes, in seconds.
PATIENCE = 60


class Lab:
    """Use it in a `with`: at the end every process it started, orphans included, is killed."""

    def __enter__(self):
        # Orphans of what we start become our children, so that they can be found.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.dir = Path(tempfile.mkdtemp(prefix="clockout-bench-"))
        # Sockets are in memory, as in /run: to make one on a disk takes longer than to start.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else self.dir
        self.sockets = Path(tempfile.mkdtemp(prefix="clockout-bench-", dir=memory))
        self.numbers = 0
        return self

    @functools.cached_property
    def probe(self):
        """The path of `probe.c`, compiled."""
        program = self.dir / "probe"
        flags = ["-O2", "-Wall", "-Wextra", "-static"]
        subprocess.run(["cc", *flags, "-o", program, HERE / "probe.c"], check=True)
        return program

    def __exit__(self, *_):
        while children := descendants(os.getpid()):
            for pid in children:
                kill(pid, signal.SIGKILL)
            reap()
        shutil.rmtree(self.sockets)
        shutil.rmtree(self.dir)

    def path(self, name):
        """A path that nobody has had yet."""
        self.numbers += 1
        return self.dir / f"{self.numbers}-{name}"

    def env(self, **more):
        """The environment of one supervisor."""
        (self.dir / "bin").mkdir(exist_ok=True)
        return {
            # Without systemd-run the dead-man is a process, which ends with the lab.
            "PATH": str(self.dir / "bin"),
            "HOME": str(self.dir),
            "AWS_EC2_METADATA_DISABLED": "true",
            "CLOCKOUT_POWEROFF_COMMAND": shutil.which("true"),
            "CLOCKOUT_STATE_DIR": str(self.path("state")),
            "CLOCKOUT_SOCKET": str(self.sockets / self.path("socket").name),
            "CLOCKOUT_RETIRE": "exit",
            "CLOCKOUT_CONFIG": str(self.dir / "no-such-file"),
            **more,
        }

    def start(self, argv, **env):
        """Starts a supervisor, which is killed with the lab at the latest."""
        log = self.path("log")
        with open(log, "wb") as out:
            files = dict(stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            process = subprocess.Popen([str(word) for word in argv], env=self.env(**env), **files)
        return Run(process, log)


class Run:
    """A supervisor that was started."""

    def __init__(self, process, log):
        self.process = process
        self.pid = process.pid
        self.log = log

    def wait_log(self, text):
        """Waits until it has said this."""
        give_up = time.monotonic() + PATIENCE
        while text not in self.log.read_text():
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"it never said {text}: {self.log.read_text()}")
            time.sleep(0.01)

    def wait(self):
        """Its exit status."""
        return self.process.wait(PATIENCE)

    def end(self):
        """Kills it and everything below it."""
        for pid in [self.pid, *descendants(self.pid)]:
            kill(pid, signal.SIGKILL)
        self.wait()


def kill(pid, number):
    """It may have ended meanwhile."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def reap():
    """Takes leave of every child that has ended."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        pass


def descendants(root):
    """Every process below `root`, zombies included."""
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = Path("/proc", name, "stat").read_bytes()
        except OSError:
            continue
        parent = int(stat.rpartition(b")")[2].split()[1])
        children.setdefault(parent, []).append(int(name))
    found, wave = [], [root]
    while wave := [child for pid in wave for child in children.get(pid, [])]:
        found += wave
    return found
