"""What the agents of GitHub Actions and Azure Pipelines have in common: a listener that runs each
job in a worker of its own. Their sources are siblings: Runner.cs and JobDispatcher.cs of
actions/runner 2.336, Agent.cs and JobDispatcher.cs of microsoft/azure-pipelines-agent 4.278.

No signal drains them. SIGINT and SIGTERM end the polling *and* cancel the running job. The worker
and the job's own processes are in the process group of the listener.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

# In seconds: what a cancelled step gets between SIGINT, SIGTERM and SIGKILL (ProcessInvoker).
INT_ALLOWS, TERM_ALLOWS = 7.5, 2.5
CANCEL = b"cancel\n"


class Call:
    """Speaks to servers/pool.py."""

    def __init__(self, url):
        self.url = url

    def __call__(self, path, **said):
        """The status, and the answer if there is one."""
        body = json.dumps({"session": os.getpid(), **said}).encode()
        request = urllib.request.Request(self.url + path, body, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            return error.code, None
        except OSError:
            return 0, None


class Listener:
    """`lines` is how the agent says it: listening(), running(name), completed(name, result),
    exiting()."""

    def __init__(self, server, worker, lines, once):
        self.call = Call(server)
        self.worker = worker
        self.lines = lines
        self.once = once
        # What happens: ("job", job), ("removed",), ("update",), ("ended", code), ("signal", number).
        self.inbox = queue.SimpleQueue()
        self.stopping = False
        self.had_job = False
        self.may_poll = threading.Semaphore(1)

    def run(self):
        """Its exit status: 0, or 3 when it must be started again after an update."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.signalled)
        say(*self.lines.listening())
        threading.Thread(target=self.poll, daemon=True).start()
        while not self.stopping:
            what, *more = self.inbox.get()
            if what == "removed":
                print(self.lines.removed(), file=sys.stderr, flush=True)
                return 0
            if what == "update":
                self.call("/leave")
                return 3
            if what == "job" and self.take(more[0]):
                self.had_job = True
                if self.once:
                    break
        self.call("/leave")
        return 0

    def signalled(self, number, _):
        # Only Ctrl-C says so: SIGTERM comes as the unloading of the program.
        if number == signal.SIGINT and not self.stopping:
            say(self.lines.exiting())
        self.stopping = True
        self.inbox.put(("signal", number))

    def poll(self):
        """While a job runs the server hands out no other, so it is not asked."""
        while True:
            self.may_poll.acquire()
            status, job = self.call("/poll")
            if status == 404:
                self.inbox.put(("removed",))
                return
            if job and job.get("update"):
                self.inbox.put(("update",))
                return
            if job:
                self.inbox.put(("job", job))
            else:
                if status == 0:
                    time.sleep(0.2)
                self.may_poll.release()

    def take(self, job):
        """Acquires the job and runs it; whether there was one."""
        if self.stopping:
            return False
        status, job = self.call("/acquire", **job)
        # The signal cancelled the call, but the server may have heard it.
        if status != 200 or self.stopping:
            self.may_poll.release()
            return False
        say(self.lines.running(job["name"]))
        if job.get("abandoned"):
            # The service took it back before the worker was started: no line says so.
            self.call("/finish", id=job["id"], outcome="lost")
            self.may_poll.release()
            return True
        result = self.work(job)
        say(self.lines.completed(job["name"], result))
        outcome = {"Succeeded": "passed", "Failed": "failed", "Canceled": "canceled"}[result]
        self.call("/finish", id=job["id"], outcome=outcome)
        self.may_poll.release()
        return True

    def work(self, job):
        worker = subprocess.Popen([self.worker, "spawnclient", job["script"], job["id"]],
                                  stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        threading.Thread(target=lambda: self.inbox.put(("ended", worker.wait())),
                         daemon=True).start()
        cancelled = False
        while True:
            what, *more = self.inbox.get()
            if what == "signal" and not cancelled:
                cancelled = True
                os.write(worker.stdin.fileno(), CANCEL)
            if what == "ended":
                return "Canceled" if cancelled else "Failed" if more[0] else "Succeeded"


def say(*lines):
    for line in lines:
        print(line, flush=True)


def stamp():
    """As .NET's format `u`."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())


def work(hooks=(None, None)):
    """The worker: runs one script, its output goes to the server, never to the agent's own.
    `hooks` are scripts for bash, or None: a failure of one is a failure of the job."""
    script, id = sys.argv[2:4]
    # Its terminal's handler keeps it alive; the listener tells it what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL,
             "stderr": subprocess.DEVNULL, "preexec_fn": deaf_no_more,
             "env": {**os.environ, "GITHUB_RUN_ID": id}}
    before, after = hooks
    failed = before and subprocess.call(["bash", "-e", before], **quiet)
    if not failed:
        step = subprocess.Popen([script], **quiet)
        threading.Thread(target=cancel_when_told, args=(step,), daemon=True).start()
        failed = step.wait()
    failed = (after and subprocess.call(["bash", "-e", after], **quiet)) or failed
    return 1 if failed else 0


def deaf_no_more():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def cancel_when_told(step):
    # An end without a word is that of the listener: the worker goes on.
    if os.read(sys.stdin.fileno(), len(CANCEL)) != CANCEL:
        return
    for number, allows in ((signal.SIGINT, INT_ALLOWS), (signal.SIGTERM, TERM_ALLOWS)):
        step.send_signal(number)
        try:
            step.wait(allows)
            return
        except subprocess.TimeoutExpired:
            pass
    step.kill()


def settings_file(program):
    return Path(program).resolve().parent.parent / "simulator.json"


def settings(program):
    """What the driver wrote beside the agent's directory bin/."""
    return json.loads(settings_file(program).read_text())


def forget(program):
    """The local configuration is deleted."""
    file = settings_file(program)
    file.write_text(json.dumps({**settings(program), "used": True}))
