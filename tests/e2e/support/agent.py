#!/usr/bin/env python3
"""A CI agent that does as it is told, and writes down what really happened.

The log line of a job can be late, lost or a lie; the file given by --events is the truth that
tests compare with: one JSON object a line, with the monotonic time.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid

HEARD = [
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGCHLD,
]


def options():
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("--events", required=True)
    add("--slots", type=int, default=1)
    add("--jobs", type=int, help="jobs the server has for this process [endless]")
    add("--job-ms", type=float, nargs="+", default=[0], help="a duration, or a range")
    add("--gap-ms", type=float, default=0, help="from the end of a job to the next in its slot")
    add("--first-ms", type=float, default=0, help="from ready to the first job")
    add("--boot-ms", type=float, default=0, help="from its start to ready")
    add("--never-ready", action="store_true")
    add("--log", choices=["buildkite", "plain", "silent"], default="buildkite")
    # drain: the first TERM or INT drains, the second cancels, the third ends it (buildkite).
    # cancel: any TERM or INT cancels what runs and ends it. ignore: only KILL ends it.
    # default: what the kernel does.
    add("--on-signal", choices=["drain", "cancel", "ignore", "default"], default="drain")
    add("--job-process", action="store_true", help="each job is a child in its own group")
    add("--hook", help="the clockout binary; called as the job hooks of a CI system would")
    add("--escape", action="store_true", help="leave a daemon behind that ignores signals")
    add("--exit-after", type=int, help="end by itself after so many jobs")
    add("--exit-code", type=int, default=0, help="the status when it ends by itself")
    add("--crash-ms", type=float, help="die so long after its start")
    add("--crash-by", choices=["exit", "KILL", "SEGV"], default="exit")
    return parser.parse_args()


class Agent:
    def __init__(self, given):
        self.given = given
        self.events = os.open(given.events, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.running = {}  # slot: (id, end, process)
        self.free_at = {slot: 0.0 for slot in range(given.slots)}
        self.left = given.jobs
        self.done = 0
        self.stops = 0
        self.index = os.environ.get("CLOCKOUT_INDEX", "-")

    def event(self, name, **fields):
        fields = {"event": name, "t": time.monotonic(), "pid": os.getpid(), **fields}
        fields["index"] = self.index
        os.write(self.events, (json.dumps(fields) + "\n").encode())

    def say(self, text):
        if self.given.log == "buildkite":
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            # The colours come even on a pipe, and every line ends in a blank.
            line = f"\x1b[38;5;48m{now} INFO  \x1b[0m \x1b[38;5;48magent-1\x1b[0m {text} \n"
            os.write(2, line.encode())
        elif self.given.log == "plain":
            os.write(1, (text + "\n").encode())

    def hook(self, *arguments):
        if self.given.hook:
            subprocess.run([self.given.hook, "job", *arguments], check=True)

    def start(self, slot):
        job = str(uuid.uuid4())
        if self.left is not None:
            self.left -= 1
        self.hook("start", job)
        self.event("started", job=job, slot=slot)
        self.say(f"Starting job {job} for build at http://127.0.0.1/acme/builds/7")
        took = random.uniform(min(self.given.job_ms), max(self.given.job_ms)) / 1000
        process = None
        if self.given.job_process:
            process = subprocess.Popen(["sleep", str(took)], process_group=0)
        self.running[slot] = (job, time.monotonic() + took, process)

    def finish(self, slot, how="finished"):
        job, _, process = self.running.pop(slot)
        if process:
            process.kill() if how == "canceled" else None
            process.wait()
        self.done += 1
        self.event(how, job=job, slot=slot)
        self.say(f"Finished job {job} for build at http://127.0.0.1/acme/builds/7")
        self.hook("finish", job, "--outcome", "passed" if how == "finished" else "canceled")
        self.free_at[slot] = time.monotonic() + self.given.gap_ms / 1000

    def leave(self, code):
        self.event("exit", code=code)
        os._exit(code)

    def crash(self):
        self.event("crash")
        if self.given.crash_by == "exit":
            os._exit(self.given.exit_code)
        signum = getattr(signal, "SIG" + self.given.crash_by)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signum])
        os.kill(os.getpid(), signum)

    def cancel(self, code):
        for slot in list(self.running):
            self.finish(slot, "canceled")
        self.leave(code)

    def heard(self, signum):
        if signum == signal.SIGCHLD:
            return
        self.event("signal", signal=signal.Signals(signum).name)
        if self.given.on_signal == "ignore":
            return
        if signum == signal.SIGQUIT:
            self.leave(1)
        if signum not in (signal.SIGTERM, signal.SIGINT):
            return
        self.stops += 1
        if self.given.on_signal == "cancel":
            self.cancel(0)
        elif self.stops == 1:
            self.say("Received signal; will exit after the current job")
        elif self.stops == 2:
            self.cancel(1)
        else:
            self.leave(1)

    def next_start(self):
        """When a slot takes its next job; None when none will."""
        free = [at for slot, at in self.free_at.items() if slot not in self.running]
        if self.stops or self.left == 0 or not free:
            return None
        return min(free)

    def step(self, now):
        """Everything that is due."""
        for slot in [slot for slot, job in self.running.items() if job[1] <= now]:
            self.finish(slot)
        if self.given.exit_after is not None and self.done >= self.given.exit_after:
            self.leave(self.given.exit_code)
        if self.stops and not self.running:
            self.leave(0)
        for slot, at in self.free_at.items():
            wants = self.next_start() is not None and slot not in self.running
            if wants and at <= now:
                # The server's answer and the signal race here, as in every real agent.
                if self.pending():
                    return
                self.start(slot)

    def pending(self):
        waiting = signal.sigpending() & set(HEARD) - {signal.SIGCHLD}
        return bool(waiting) and self.given.on_signal != "default"

    def run(self):
        given = self.given
        born = time.monotonic()
        self.event("born", argv=sys.argv, environ=dict(os.environ))
        if given.on_signal != "default":
            signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
        if given.escape:
            escape(self)
        ready_at = born + given.boot_ms / 1000
        crash_at = None if given.crash_ms is None else born + given.crash_ms / 1000
        ready = False
        while True:
            now = time.monotonic()
            if crash_at is not None and crash_at <= now:
                self.crash()
            if not ready and not given.never_ready and ready_at <= now:
                ready = True
                self.event("ready")
                self.say("Waiting for instructions...")
                self.free_at = {s: now + given.first_ms / 1000 for s in self.free_at}
            if ready or self.stops:
                self.step(now)
            due = [job[1] for job in self.running.values()]
            if ready:
                due += [at for at in [self.next_start()] if at is not None]
            elif not given.never_ready:
                due.append(ready_at)
            if crash_at is not None:
                due.append(crash_at)
            wait = max(0, min(due, default=now + 3600) - time.monotonic())
            if given.on_signal == "default":
                time.sleep(wait)
            elif (info := signal.sigtimedwait(HEARD, wait)) is not None:
                self.heard(info.si_signo)


def escape(agent):
    """A daemon as jobs leave them behind: another session, another parent, deaf."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    agent.event("escaped", daemon=os.getpid())
    time.sleep(3600)
    os._exit(0)


if __name__ == "__main__":
    Agent(options()).run()
