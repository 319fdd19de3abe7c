"""gitlab-runner 17.9 with the shell executor: its protocol, lines, metrics and signals.

It cannot be had from a registry. Sources: commands/multi.go, common/build.go,
log/runner_formatter.go and network/gitlab.go of gitlab.com/gitlab-org/gitlab-runner. Its output
was compared with that of the real one, built from its sources, against the same server. Left out:
executors but `shell`, several [[runners]], reloading.
"""

import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RESET, YELLOW, RED = "\x1b[0;m", "\x1b[0;33m", "\x1b[31;1m"
LEVELS = {"info": ("", ""), "warning": (YELLOW, "WARNING: "), "error": (RED, "ERROR: ")}
# In seconds, as the real one's.
SHUTDOWN_TIMEOUT, CHECK_INTERVAL = 30, 3
# In seconds, of an aborted job between SIGTERM and SIGKILL.
GRACE = 10
ABORTED = "runner_system_failure"
NAMES = {signal.SIGQUIT: "quit", signal.SIGTERM: "terminated", signal.SIGINT: "interrupt"}


def main():
    # Go's own handler, until the runner has its own.
    signal.signal(signal.SIGQUIT, dump)
    parser = argparse.ArgumentParser()
    parser.add_argument("--log-format", choices=["runner", "json", "text"], default="runner")
    parser.add_argument("command", choices=["run"])
    parser.add_argument("-c", "--config", required=True)
    parser.add_argument("--listen-address")
    options = parser.parse_args()
    with open(options.config, "rb") as file:
        config = tomllib.load(file)
    runner = Runner(config, Log(options.log_format))
    return runner.run(options.config, options.listen_address or config.get("listen_address"))


def dump(*_):
    print("SIGQUIT: quit\nPC=0x49a2c3 m=3 sigcode=0\n\ngoroutine 0 gp=0x18443823f0e0 m=3 [idle]:",
          file=sys.stderr, flush=True)
    os._exit(2)


class Log:
    def __init__(self, format):
        self.format = {"runner": runner_line, "json": json_line, "text": text_line}[format]

    def __call__(self, message, level="info", **fields):
        line = self.format(level, message, dict(sorted(fields.items())))
        # One write a line: many threads do it.
        os.write(2, line.encode() + b"\n")


def runner_line(level, message, fields):
    color, prefix = LEVELS[level]
    said = "".join(f" {color}{key}{RESET}={value}" for key, value in fields.items())
    return f"{color}{prefix}{message:<{50 - len(prefix)}}{RESET} {said}"


def json_line(level, message, fields):
    return json.dumps({**fields, "level": level, "msg": message, "time": now()})


def text_line(level, message, fields):
    # JSON's escapes are Go's for all that is said here.
    said = "".join(f" {key}={json.dumps(value) if ' ' in str(value) else value}"
                   for key, value in fields.items())
    return f'time="{now()}" level={level} msg={json.dumps(message)}{said}'


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Runner:
    def __init__(self, config, log):
        self.config = config
        self.concurrent = config.get("concurrent", 1)
        self.runner = config["runners"][0]
        self.log = log
        # Held for all that follows.
        self.changed = threading.Condition()
        self.jobs = {}
        self.total = 0
        self.stopping = False
        self.signals = queue.SimpleQueue()

    def about(self):
        return {"builds": len(self.jobs), "max_builds": self.concurrent}

    def run(self, path, address):
        self.log("Runtime platform", arch="amd64", os="linux", pid=os.getpid(),
                 revision="HEAD", version="17.9.0")
        self.log(f"Starting multi-runner from {path}...", builds=0, max_builds=0)
        self.log("Configuration loaded", **self.about())
        if address:
            self.serve(address)
        else:
            self.log("listen_address not defined, metrics & debug endpoints disabled",
                     **self.about())
        self.log("Initializing executor providers", **self.about())
        for number in NAMES:
            signal.signal(number, lambda number, _: self.signals.put(number))
        threading.Thread(target=self.poll, daemon=True).start()
        return self.stop(self.next_signal())

    def serve(self, address):
        host, port = address.rsplit(":", 1)
        server = ThreadingHTTPServer((host, int(port)), Metrics)
        server.runner = self
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.log("Metrics server listening", address=address, **self.about())

    # --- jobs

    def poll(self):
        while True:
            with self.changed:
                self.changed.wait_for(lambda: len(self.jobs) < self.concurrent)
                if self.stopping:
                    return
            status, job = self.ask("POST", "jobs/request", {"token": self.runner["token"]})
            if status != 201:
                time.sleep(self.config.get("check_interval", CHECK_INTERVAL))
                continue
            repo = job["git_info"]["repo_url"]
            self.log("Checking for jobs... received", job=job["id"], repo_url=repo,
                     runner=self.short())
            fields = {"job": job["id"], "project": job["job_info"]["project_id"],
                      "repo_url": repo, "time_in_queue_seconds": 0}
            with self.changed:
                self.jobs[job["id"]] = None
                self.total += 1
            self.log("Added job to processing list", **fields, **self.about())
            threading.Thread(target=self.work, args=(job, fields)).start()

    def short(self):
        return self.runner["token"].removeprefix("glrt-")[:9]

    def work(self, job, fields):
        started = time.monotonic()
        process = subprocess.Popen(job["steps"][0]["script"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   process_group=0)
        with self.changed:
            self.jobs[job["id"]] = process
            if self.stopping == "aborted":
                end(process)
        code = process.wait()
        about = {"duration_s": f"{time.monotonic() - started:.9f}", "job": job["id"],
                 "project": fields["project"], "runner": self.short()}
        reason = ""
        if code == 0:
            self.log("Job succeeded", **about)
        elif self.stopping == "aborted":
            reason = ABORTED
            self.log("Job failed (system failure): aborted: terminated\n", "warning", **about)
        else:
            reason = "script_failure"
            self.log(f"Job failed: exit status {code}\n", "warning", **about)
        self.ask("PATCH", f"jobs/{job['id']}/trace", None)
        self.log("Updating job...", bytesize=0, checksum="crc32:00000000", job=job["id"],
                 runner=self.short())
        self.ask("PUT", f"jobs/{job['id']}",
                 {"state": "failed" if code else "success", "failure_reason": reason})
        with self.changed:
            del self.jobs[job["id"]]
            # Said before anybody can know that it was the last.
            self.log("Removed job from processing list", **fields, **self.about())
            self.changed.notify_all()

    def ask(self, method, path, body):
        """The status, and the answer where there is one."""
        url = self.runner["url"].rstrip("/") + "/api/v4/" + path
        request = urllib.request.Request(url, json.dumps(body).encode(), method=method,
                                         headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except OSError as error:
            self.log("Checking for jobs... failed", "warning", runner=self.short(), status=error)
            return 0, None

    # --- the end

    def stop(self, number):
        """Its exit status."""
        with self.changed:
            self.stopping = "draining"
        self.log("[runWait] received stop signal", "warning", **self.about(),
                 **{"stop-signal": NAMES[number]})
        while number == signal.SIGQUIT:
            self.log("Starting graceful shutdown, waiting for builds to finish", "warning",
                     StopSignal=NAMES[number], **self.about())
            number = self.signal_or_end()
            if number is None:
                return self.ended()
            self.log("[handleGracefulShutdown] received stop signal", "warning", **self.about(),
                     **{"stop-signal": NAMES[number]})
        limit = self.config.get("shutdown_timeout") or SHUTDOWN_TIMEOUT
        self.log("Starting forceful shutdown", "warning", StopSignal=NAMES[number],
                 **self.about(), **{"shutdown-timeout": f"{limit}s"})
        with self.changed:
            self.stopping = "aborted"
            for process in self.jobs.values():
                if process:
                    end(process)
        try:
            if self.signal_or_end(limit) is None:
                return self.ended()
        except queue.Empty:
            pass
        os._exit(1)

    def signal_or_end(self, limit=None):
        """The next signal; None when all jobs have ended."""
        def wait():
            with self.changed:
                self.changed.wait_for(lambda: not self.jobs)
            self.signals.put(None)
        threading.Thread(target=wait, daemon=True).start()
        return self.next_signal(limit)

    def next_signal(self, limit=None):
        """Raises queue.Empty after so many seconds."""
        give_up = limit and time.monotonic() + limit
        while True:
            try:
                # The kernel may have given it to another thread: this one has to wake up for it.
                return self.signals.get(timeout=0.05)
            except queue.Empty:
                if give_up and time.monotonic() > give_up:
                    raise

    def ended(self):
        self.log("All workers stopped.", **self.about())
        self.log("All executor providers shut down.", **self.about())
        self.log("Can exit now!", **self.about())
        return 0


def end(process):
    """SIGTERM to the job's own process group, then SIGKILL."""
    def kill(number):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
    kill(signal.SIGTERM)
    late = threading.Timer(GRACE, kill, [signal.SIGKILL])
    late.daemon = True
    late.start()


class Metrics(BaseHTTPRequestHandler):
    def do_GET(self):
        runner = self.server.runner
        with runner.changed:
            running, total = len(runner.jobs), runner.total
        label = f'runner="{runner.short()}"'
        lines = [f'gitlab_runner_jobs{{executor_stage="idle",{label},stage="idle",state="idle"}} 0']
        if running:
            lines.append(f'gitlab_runner_jobs{{executor_stage="prepare",{label},'
                         f'stage="step_script",state="running"}} {running}')
        lines += [f"gitlab_runner_jobs_total{{{label}}} {total}", ""]
        body = "\n".join(lines).encode()
        self.send_response(200 if self.path == "/metrics" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass
