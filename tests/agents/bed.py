"""One clockout, its agent and a fake CI server in a directory of their own.

Waiting is always for something that happens, never for time to pass; whoever waits in vain gets
`NotSeen` after `PATIENCE` seconds. Whatever a test did, `Bed.end` leaves no process behind.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from datetime import datetime
from pathlib import Path

from job import Job
from processes import end_all, find_all

# In seconds. A machine that runs many tests at once is slow.
PATIENCE = 60
# How often files and status are looked at, in seconds.
LOOK = 0.03
LOG_LINE = re.compile(rb'\{"timestamp":"\d{4}-.*')
EVENT = re.compile(r"([a-z]+\.[a-z_]+)(?::|$)")
# A field that the log calls otherwise.
LOGGED_AS = {"id": "job"}
ROOT = Path(__file__).resolve().parents[2]


class NotSeen(AssertionError):
    """Something that had to happen did not, within `PATIENCE`."""


class Event:
    """One line of clockout's log."""

    def __init__(self, line):
        self.name = EVENT.match(line["message"])[1]
        self.level = line["level"]
        # In seconds since 1970, comparable with time.time().
        self.time = datetime.fromisoformat(line["timestamp"]).timestamp()
        self.fields = line

    @property
    def id(self):
        """The job's, where the event has one."""
        return self.fields.get("job")

    def __getattr__(self, name):
        try:
            return self.fields[name]
        except KeyError:
            raise AttributeError(f"{self} has no field {name}") from None

    def has(self, fields):
        return all(str(self.fields.get(LOGGED_AS.get(name, name))) == str(value)
                   for name, value in fields.items())

    def __repr__(self):
        return json.dumps(self.fields)


class Bed:
    def __init__(self, clockout=None):
        # Short: a socket's path has at most 107 bytes.
        self.dir = Path(tempfile.mkdtemp(prefix="clockout-bed-"))
        self.clockout = str(clockout or os.environ.get("CLOCKOUT", ROOT / "target/debug/clockout"))
        self.socket = self.dir / "socket"
        self.stdout_file = self.dir / "stdout"
        self.stderr_file = self.dir / "stderr"
        self.truth_file = self.dir / "truth"
        for name in ("release", "home", "jobs"):
            (self.dir / name).mkdir()
        self.truth_file.touch()
        self.driver = None
        self.process = None
        self._jobs = 0
        self._events = []
        self._read = 0

    # --- what runs

    def start(self, driver, **options):
        """Starts `clockout run` for this driver's agent; `max_jobs=3` is `--max-jobs 3`."""
        self.driver = driver
        # A clockout that outlives its test ends by itself.
        given = {"idle_timeout": "never", "max_lifetime": "15m", "drain_timeout": "5m", **options}
        flags = [word for name, value in given.items()
                 for word in ("--" + name.replace("_", "-"), str(value))]
        argv = [self.clockout, "run", "--retire", "exit", "--log-format", "json",
                "--log-level", "debug", "--state-dir", str(self.dir / "state"),
                "--socket", str(self.socket), *flags, *driver.options(),
                "--", *map(str, driver.command())]
        with open(self.stdout_file, "ab") as out, open(self.stderr_file, "ab") as err:
            self.process = subprocess.Popen(
                argv, env=self.environment(driver), cwd=self.dir, stdin=subprocess.DEVNULL,
                stdout=out, stderr=err, start_new_session=True)

    def environment(self, driver):
        """Little of the machine's own, and no way to power it off."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.dir / "home"),
            "LANG": "C.UTF-8",
            "CLOCKOUT_CONFIG": str(self.dir / "no-config"),
            # Whoever writes a preset can try it without a build.
            "CLOCKOUT_PRESETS_DIR": os.environ.get("CLOCKOUT_PRESETS_DIR", str(self.dir / "none")),
            "CLOCKOUT_POWEROFF_COMMAND": "/bin/true",
            "AWS_EC2_METADATA_DISABLED": "true",
            **driver.env(),
        }

    def port(self):
        """A loopback port that nobody listens on just now."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    # --- jobs

    def job(self, prints=b"", exit_code=0, released=False):
        """A job for `driver.offer`; it runs until released."""
        self._jobs += 1
        job = Job(self, str(self._jobs), prints, exit_code)
        if released:
            self.release(job)
        return job

    def offer(self, **about):
        """A new job that the server hands out; returns it."""
        job = self.job(**about)
        self.driver.offer(job)
        return job

    def release(self, job):
        (self.dir / "release" / job.id).touch()

    def truth(self):
        """What jobs really did: (start|printed|end|killed, id), in their order."""
        # A half-written last line is not there yet.
        lines = self.truth_file.read_text().split("\n")[:-1]
        return [tuple(line.split(" ", 1)) for line in lines]

    def ids(self, verb):
        return [id for said, id in self.truth() if said == verb]

    def wait_truth(self, verb, job):
        self.wait(f"{verb} of job {job.id}", lambda: (verb, job.id) in self.truth())

    def wait_heard(self, word, job):
        """Until the server was told so."""
        self.wait(f"job {job.id} {word} at the server",
                  lambda: (job.id, word) in self.driver.heard())

    # --- what clockout says

    def events(self, name=None, **fields):
        """Its log so far. `id=` is the job's."""
        self._read_on()
        return [event for event in self._events
                if name in (None, event.name) and event.has(fields)]

    def _read_on(self):
        with open(self.stderr_file, "rb") as log:
            log.seek(self._read)
            text = log.read()
        whole = text.rfind(b"\n") + 1
        self._read += whole
        for line in text[:whole].split(b"\n"):
            # The agent's own unfinished line may be before it.
            found = LOG_LINE.search(line)
            try:
                parsed = json.loads(found[0]) if found else {}
            except ValueError:
                continue
            if EVENT.match(str(parsed.get("message", ""))) and parsed.get("level", "").isupper():
                self._events.append(Event(parsed))

    def wait_event(self, name, count=1, **fields):
        """The `count`-th such event."""
        what = f"{name} {fields or ''} x{count}"
        enough = lambda: len(self.events(name, **fields)) >= count
        self.wait(what, enough)
        return self.events(name, **fields)[count - 1]

    def output(self):
        """All that the agent and clockout wrote."""
        return self.stdout_file.read_bytes() + self.stderr_file.read_bytes()

    def status(self):
        """What `clockout status` says; None while there is no supervisor to ask."""
        asked = self.ask("status", "--json")
        return json.loads(asked.stdout) if asked.returncode == 0 else None

    def wait_status(self, what, good):
        """Until `good(status)`; returns that status."""
        def look():
            status = self.status()
            return status if status and good(status) else None
        return self.wait(what, look)

    def ask(self, *words):
        """Runs another command of clockout beside it."""
        environment = {**self.environment(self.driver), "CLOCKOUT_SOCKET": str(self.socket)}
        return subprocess.run([self.clockout, *words], env=environment, cwd=self.dir,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=PATIENCE)

    def record(self):
        """What it said when it retired."""
        return json.loads(self.wait_event("retire.done").record)

    # --- what is done to it

    def drain(self):
        """As ExecStop and preStop do."""
        asked = self.ask("drain")
        assert asked.returncode == 0, f"drain: {asked.stderr}"
        self.wait_event("drain.began")

    def cancel(self):
        """The first signal drains, the second cancels what runs."""
        self.process.send_signal(signal.SIGTERM)
        self.wait_event("drain.began")
        # Not the same again: a signal that is still pending is not delivered twice.
        self.process.send_signal(signal.SIGINT)
        self.wait_event("drain.cancelled")

    def kill_agent(self):
        """SIGKILL to the main process of the agent that was started last."""
        self.wait_event("agent.started")
        os.kill(int(self.events("agent.started")[-1].pid), signal.SIGKILL)

    # --- waiting

    def wait(self, what, condition):
        """The first true value of `condition()`; an end of clockout is the last moment for it."""
        give_up = time.monotonic() + PATIENCE
        while True:
            ended = self.has_ended()
            value = condition()
            if value:
                return value
            if ended:
                raise NotSeen(f"clockout ended with {self.process.returncode}, not seen: {what}")
            if time.monotonic() > give_up:
                raise NotSeen(f"not seen within {PATIENCE} s: {what}")
            time.sleep(LOOK)

    def has_ended(self):
        return self.process is not None and self.process.poll() is not None

    def wait_exit(self):
        """The exit status of clockout; -N where signal N ended it."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise NotSeen(f"clockout did not end within {PATIENCE} s") from None

    # --- the end

    def processes(self):
        """Pids of all that this bed started, and what those started."""
        return find_all(f"CLOCKOUT_SOCKET={self.socket}", self.dir)

    def wait_gone(self, job):
        """Until no process of this job is left."""
        script = os.fsencode(job.script)
        self.wait(f"the end of job {job.id}'s processes", lambda: not find_all(None, script))

    def logs(self):
        """Everything that was written, for the report of a failure."""
        parts = [("argv", " ".join(self.process.args))] if self.process else []
        for path in sorted(self.dir.glob("**/*.log")) + [
                self.truth_file, self.stdout_file, self.stderr_file]:
            if path.is_file():
                parts.append((path.relative_to(self.dir), shortened(path.read_bytes())))
        if self.driver:
            parts.append(("heard by the server", self.driver.heard()))
        return "\n".join(f"--- {name}\n{text}" for name, text in parts)

    def end(self):
        """Ends every process and the server, and removes the directory."""
        try:
            if self.process and self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            end_all(self.processes)
        finally:
            if self.driver:
                self.driver.stop()
            shutil.rmtree(self.dir, ignore_errors=True)


def shortened(text, line=400, most=60_000):
    """For people: lines cut, and the middle left out."""
    lines = [part if len(part) <= line else part[:line] + b" [%d bytes]" % len(part)
             for part in text.split(b"\n")]
    text = b"\n".join(lines).decode(errors="backslashreplace")
    return text if len(text) <= most else text[:most // 2] + "\n[...]\n" + text[-most // 2:]
