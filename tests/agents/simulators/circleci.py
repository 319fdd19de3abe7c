"""circleci-runner 3 (`circleci-runner machine`). Closed source, in no registry: its documentation
(configuration reference, "Customizing job timeouts and drain timeouts") says what it does.

The first SIGTERM: no further task is taken, the running one finishes. The second: SIGTERM to the
task-agent, SIGKILL a brief period later. Every task-agent is started through `command_prefix`, a
list. No log line says that a task began or ended; the form of the lines is that of a 3.1 runner.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

from dotnet import Call

# In seconds: the "brief period" between the SIGTERM and the SIGKILL to a task-agent.
TERM_ALLOWS = 10
NONE_WAITING = 204


class Runner:
    def __init__(self, config):
        self.single = setting("MODE", config, "mode") == "single-task"
        self.prefix = json.loads(setting("COMMAND_PREFIX", config, "command_prefix") or "[]")
        self.call = Call(os.environ["CIRCLECI_RUNNER_API_URL"])
        self.task_agent = None
        self.signals = 0

    def run(self):
        """Its exit status."""
        signal.signal(signal.SIGTERM, self.signalled)
        log("starting", f"mode={'single-task' if self.single else 'continuous'}")
        while not self.signals:
            status, task = self.claim()
            if task and self.work(task) and self.single:
                break
            if status not in (200, NONE_WAITING):
                time.sleep(0.2)
        self.call("/leave")
        return 0

    def claim(self):
        """A signal does not wait for the answer: what was claimed then goes back to the queue."""
        answers = []
        asks = threading.Thread(target=lambda: answers.append(self.call("/poll")), daemon=True)
        asks.start()
        while asks.is_alive() and not self.signals:
            asks.join(0.05)
        status, task = answers[0] if answers else (0, None)
        log("worker loop: claim:", "app.backoff_ms=5000 app.loop_name=claim: mode=agent")
        return status, task

    def work(self, task):
        if self.signals or self.call("/acquire", id=task["id"])[0] != 200:
            return False
        # Its output goes to the server.
        self.task_agent = subprocess.Popen(
            [*self.prefix, "/bin/sh", task["script"]], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        code = self.task_agent.wait()
        outcome = "canceled" if self.signals > 1 else "failed" if code else "passed"
        self.call("/finish", id=task["id"], outcome=outcome)
        return True

    def signalled(self, *_):
        self.signals += 1
        if self.signals == 2 and self.task_agent:
            threading.Thread(target=self.cancel, daemon=True).start()

    def cancel(self):
        self.task_agent.send_signal(signal.SIGTERM)
        time.sleep(TERM_ALLOWS)
        self.task_agent.kill()


def setting(variable, config, key):
    """The environment wins over the file."""
    found = re.search(rf"(?m)^\s*{key}:\s*(.*?)\s*$", config)
    return os.environ.get(f"CIRCLECI_RUNNER_{variable}") or (found and found[1])


def log(what, fields):
    stamp = time.strftime("%H:%M:%S", time.gmtime())
    print(f"\x1b[90m{stamp}\x1b[0m 7b67e 24.210ms {what}  {fields}", file=sys.stderr, flush=True)


def main():
    if sys.argv[1] != "machine":
        print(f"circleci-runner: error: unexpected argument {sys.argv[1]}", file=sys.stderr)
        return 80
    with open(sys.argv[sys.argv.index("--config") + 1]) as config:
        return Runner(config.read()).run()
