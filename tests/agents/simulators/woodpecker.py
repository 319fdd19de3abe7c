"""woodpecker-agent v3.17: with several workflows at a time, or with one and its end after it.

Lines and signals are those of agent/runner.go and cmd/agent/core/agent.go of
github.com/woodpecker-ci/woodpecker v3.17.0. The first signal cancels; its handlers are gone then,
and the second kills. Its calls are those of servers/pool.py: Next is a poll, Init acquires.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Agent:
    def __init__(self):
        self.debug = os.environ.get("WOODPECKER_LOG_LEVEL") == "debug"
        # Ids of running workflows.
        self.running = []
        self.session = str(os.getpid())
        self.stopping = threading.Event()
        # Their processes. Held while one is started, so that the signal misses none.
        self.steps = set()
        self.starting = threading.RLock()

    def log(self, level, message, **fields):
        if level == "debug" and not self.debug:
            return
        stamp = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        if self.debug:
            stamp["caller"] = "/src/agent/runner.go:110"
        line = {"level": level, **fields, **stamp, "message": message}
        # One write: lines of different threads do not mix.
        os.write(2, json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def run(self):
        single = os.environ.get("WOODPECKER_AGENT_SINGLE_WORKFLOW") == "true"
        self.log("info", "Starting Woodpecker agent", version="3.17.0")
        health = Health(self)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.signalled)
        count = 1 if single else int(os.environ["WOODPECKER_MAX_WORKFLOWS"])
        runners = [threading.Thread(target=self.loop, args=(single,), daemon=True)
                   for _ in range(count)]
        for number, runner in enumerate(runners):
            self.log("debug", f"created new runner {number}")
            runner.start()
        self.log("info", "starting Woodpecker agent", version="3.17.0", backend="local",
                 platform="linux/amd64",
                 **{"parallel workflows": count, "single workflow": single})
        while any(runner.is_alive() for runner in runners):
            # Signals are handled between these.
            time.sleep(0.02)
        health.stop()
        call("/leave", session=self.session)
        self.log("info", "shutdown of whole agent")
        return 0

    def signalled(self, *_):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        with self.starting:
            self.stopping.set()
            for step in self.steps:
                os.killpg(step.pid, signal.SIGKILL)

    def loop(self, single):
        while not self.stopping.is_set():
            self.log("debug", "polling new workflow")
            self.log("debug", "request next execution")
            job = self.next()
            if job:
                self.work(job)
            elif not self.stopping.is_set():
                continue  # The server answers an old question: it is asked again.
            if single:
                self.log("info", "shutdown single workflow runner")
                return

    def next(self):
        """A workflow; None when the signal came first, even when the server gave one."""
        answers = []

        def ask():
            answers.append(call("/poll", session=self.session))

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        while asking.is_alive() and not self.stopping.is_set():
            asking.join(0.01)
        return answers[0] if answers and not self.stopping.is_set() else None

    def work(self, job):
        id = job["id"]
        about = {"repo": "owner/repository", "pipeline": id, "workflow_id": id}
        self.running.append(id)
        self.log("debug", "received execution", **about)
        call("/acquire", id=id)
        code = self.execute(job["script"])
        canceled = self.stopping.is_set()
        error = "" if canceled or code == 0 else f"uuid=step: exit code {code}"
        self.log("debug", "workflow finished", **about, error=error, canceled=canceled)
        call("/finish", id=id,
             outcome="canceled" if canceled else "failed" if code else "passed")
        self.log("debug", "signaling workflow stopped done", **about)
        self.running.remove(id)

    def execute(self, script):
        """Its exit status; None when the signal came first."""
        with self.starting:
            if self.stopping.is_set():
                return None
            step = subprocess.Popen(
                [script], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, process_group=0)
            self.steps.add(step)
        # Waited for, but not reaped before it is known to be over.
        os.waitid(os.P_PID, step.pid, os.WEXITED | os.WNOWAIT)
        with self.starting:
            self.steps.remove(step)
        return step.wait()


class Health:
    """Its page, until the first signal."""

    def __init__(self, agent):
        class Page(BaseHTTPRequestHandler):
            def do_GET(self):
                running = {id: {"id": id} for id in agent.running}
                count = len(running)
                body = json.dumps({"polling_count": 0, "running_count": count,
                                   "running": running}).encode()
                self.send_response(200 if self.path == "/varz" else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        host, _, port = os.environ["WOODPECKER_HEALTHCHECK_ADDR"].rpartition(":")
        self.server = ThreadingHTTPServer((host, int(port)), Page)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def call(path, **said):
    """What the server answers, if it does."""
    url = os.environ["WOODPECKER_SERVER"] + path
    request = urllib.request.Request(url, json.dumps(said).encode(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
            return json.loads(text) if text else None
    except (urllib.error.HTTPError, OSError):
        return None


def main():
    return Agent().run()


if __name__ == "__main__":
    sys.exit(main())
