"""The runners of Gitea and Forgejo Actions that no registry has, by the name of the program.

`gitea-runner daemon` is that of v3.3.0: internal/app/{cmd,poll,run} of gitea.com/gitea/runner.
`forgejo-runner one-job` is that of v12: internal/app/{cmd,job,run} of
code.forgejo.org/forgejo/runner. They ask the same fake server as the real runner, in JSON. A step
runs in a session of its own, as theirs do.
"""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# In seconds: how often a daemon looks whether it was signalled.
LOOK = 0.02


class Runner:
    """`declared` is its word for it. `post_task` is what it runs after each task, if anything."""

    def __init__(self, config, declared, post_task=None):
        with open(setting(config, "file")) as file:
            registration = json.load(file)
        self.url = registration["address"] + "/api/actions/runner.v1.RunnerService/"
        self.address = registration["address"]
        self.post_task = post_task
        self.running = 0
        # One at a time: lines, the count, and the step that a signal must find.
        self.lock = threading.Lock()
        self.step = None
        self.cancelled = threading.Event()
        log("info", "Starting runner daemon" if declared == "declare" else "Starting job")
        self.call("Declare", version="test", labels=["x"])
        log("info", "runner: test, with version: test, with labels: [x], "
            f"{declared} successfully")

    def call(self, name, **said):
        request = urllib.request.Request(
            self.url + name, json.dumps(said).encode(),
            {"Content-Type": "application/json"}, method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def fetch(self):
        """The server answers at once."""
        return self.call("FetchTask", tasksVersion="0").get("task")

    def run(self, task):
        self.count(1)
        id = task["id"]
        about = task["context"]
        log("info", f"task {id} repo is {about['repository']} "
            f"{about['gitea_default_actions_url']} {self.address}")
        workflow = base64.b64decode(task["workflowPayload"]).decode()
        script = re.search(r'run: exec "(.*)"', workflow)[1]
        code = self.execute(script)
        result = "CANCELLED" if self.cancelled.is_set() else "FAILURE" if code else "SUCCESS"
        if self.post_task:
            self.after(id, result.lower())
        self.count(-1)
        self.call("UpdateTask", state={"id": id, "result": f"RESULT_{result}"})

    def count(self, change):
        with self.lock:
            self.running += change

    def execute(self, script):
        with self.lock:
            if self.cancelled.is_set():
                return None
            step = self.step = subprocess.Popen(
                [script], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, start_new_session=True)
        return step.wait()

    def after(self, id, result):
        log("info", f'running post-task script "{self.post_task}" for task {id}')
        # Nothing of the runner's own environment.
        env = {"GITEA_TASK_ID": id, "GITEA_JOB_RESULT": result}
        ended = subprocess.run([self.post_task], env=env, stdin=subprocess.DEVNULL,
                               capture_output=True)
        if ended.returncode:
            log("warning", f'post-task script "{self.post_task}" for task {id} '
                f"exited with code {ended.returncode}")

    def cancel(self):
        with self.lock:
            self.cancelled.set()
            if self.step:
                os.killpg(self.step.pid, signal.SIGKILL)


def daemon(config):
    """Further signals are swallowed; its shutdown_timeout is longer than any test."""
    runner = Runner(config, "declare", setting(config, "post_task_script"))
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    metrics = Metrics(runner, setting(config, "addr"))
    slots = threading.Semaphore(int(setting(config, "capacity")))
    tasks = []

    def work(task):
        runner.run(task)
        slots.release()

    while not stopping.is_set():
        if not slots.acquire(timeout=LOOK):
            continue
        task = None if stopping.is_set() else runner.fetch()
        if task:
            tasks.append(threading.Thread(target=work, args=(task,)))
            tasks[-1].start()
        else:
            slots.release()
            stopping.wait(0.2)
    log("info", "runner: test shutdown initiated, waiting 3h0m0s for running jobs to complete "
        "before shutting down")
    metrics.stop()
    for task in tasks:
        task.join()
    return 0


class Metrics:
    """Its page, until the first signal."""

    def __init__(self, runner, address):
        class Page(BaseHTTPRequestHandler):
            def do_GET(self):
                body = (b"# TYPE gitea_runner_job_running gauge\n"
                        b"gitea_runner_job_running %d\n" % runner.running)
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        host, _, port = address.rpartition(":")
        self.server = ThreadingHTTPServer((host, int(port)), Page)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        log("info", f"metrics server listening on {address}")

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def one_job(config):
    """One question; a signal cancels whatever it does, and so do further ones."""
    runner = Runner(config, "declared")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: threading.Thread(target=runner.cancel).start())
    task = runner.fetch()
    if not task or runner.cancelled.is_set():
        print("Error: could not fetch task", file=sys.stderr)
        return 1
    working = threading.Thread(target=runner.run, args=(task,))
    working.start()
    while working.is_alive():
        # Signals are handled between these.
        working.join(LOOK)
    return 0


def setting(config, key):
    found = re.search(rf"(?m)^ +{key}: (.*)$", config)
    return found[1] if found else None


def log(level, message):
    """logrus: text, quoted as Go does."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    # One write: lines of different threads do not mix.
    os.write(2, f"time=\"{stamp}\" level={level} msg={json.dumps(message)}\n".encode())


def main():
    with open(sys.argv[sys.argv.index("--config") + 1]) as file:
        config = file.read()
    modes = {("gitea-runner", "daemon"): daemon, ("forgejo-runner", "one-job"): one_job}
    return modes[os.path.basename(sys.argv[0]), sys.argv[1]](config)


if __name__ == "__main__":
    sys.exit(main())
