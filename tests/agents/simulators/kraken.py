"""kkagent of Kraken CI 1.7.36, which is in no registry: its protocol, lines and signals.

Sources: agent/kraken/agent/{agent,jobber,local_run,server}.py and server/kraken/server/logs.py of
github.com/Kraken-CI/kraken. Its output was compared with that of the real one, run against the
same server. Left out: tools other than `shell`, containers, updates, and the second that each
step takes longer than its command.
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import time
import traceback
import urllib.request

VERSION = "1.7.36"
# In seconds: how long it sleeps when there was no job.
SLEEP = 5
# In bytes: a longer line of a job's output is an error, and left out.
LONGEST_LINE = 128 * 1024


def log(module, line, message, level="INFO"):
    """As logging's format `%(asctime)s %(levelname)-4.4s p:%(process)5d %(module)8.8s:%(lineno)-5d
    %(message)s` does."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    milliseconds = int(now * 1000) % 1000
    print(f"{stamp},{milliseconds:03d} {level:<4.4s} p:{os.getpid():5d} "
          f"{module:>8.8s}:{line:<5d} {message}", file=sys.stderr, flush=True)


class Server:
    """Asks with `POST /backend`."""

    def __init__(self, address):
        self.url = address.rstrip("/") + "/backend"

    def ask(self, msg, **more):
        body = json.dumps({"address": "127.0.0.1", "msg": msg, **more}).encode()
        request = urllib.request.Request(self.url, body, {"content-type": "application/json"})
        while True:
            try:
                with urllib.request.urlopen(request, timeout=120) as answer:
                    return json.load(answer)
            except OSError as error:
                log("server", 88, f"url connection problem to {self.url}: {error}, "
                                  "trying one more time in 5s", "WARNING")
                time.sleep(5)

    def report(self, job, step, result):
        log("server", 180, f"job {job} step {step} report {result}")
        self.ask("step-result2", job_id=job, step_idx=step, result=result)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["run"])
    parser.add_argument("-s", "--server", required=True)
    parser.add_argument("-d", "--data-dir", required=True)
    parser.add_argument("--one-job", action="store_true")
    options = parser.parse_args()
    log("logs", 413, "setup logging on agent to clickhouse: localhost:9001")
    log("main", 46, f"Starting Kraken Agent, version {VERSION}")
    server = Server(options.server)
    host = {"system": "debian-12", "system_type": "linux"}
    log("agent", 98, f"reporting host info: {host}")
    log("agent", 160, f"RESP {server.ask('host-info', info=host)}")
    log("agent", 168, f"reported host info: {host}")
    if options.one_job:
        log("agent", 173, "this is one job agent")
    while True:
        try:
            job = server.ask("get-job").get("job", {})
            if job:
                log("agent", 125, f"cleanup jobs dir {options.data_dir}/jobs")
            log("agent", 193, f">>>>>> received job: {str(job)[:200]}")
            if job:
                run(server, job, os.path.join(options.data_dir, "jobs", str(job["id"])))
                if options.one_job:
                    log("agent", 202, "one job so terminating")
                    return 0
            else:
                time.sleep(SLEEP)
        except KeyboardInterrupt:
            log("agent", 207, f"exiting due to ctrl-c\n{traceback.format_exc()}", "ERROR")
            return 0


def run(server, job, directory):
    os.makedirs(directory, exist_ok=True)
    log("jobber", 451, f"started job in {directory}, executing in local")
    status = None
    while True:
        step = server.ask("get-job-step")["job_step"]
        if step["finish"]:
            break
        server.report(job["id"], step["index"], {"status": "in-progress"})
        log("local_run", 79, f"exec: '/opt/kraken/kktool -m kraken.agent.kraken_shell run' "
                             f"in '{directory}', timeout {step['timeout']}s")
        code = asyncio.run(execute(step["cmd"], directory))
        status = "done" if code == 0 else "error"
        result = {"status": status, "duration": 1}
        if code:
            result.update(reason="retcode", retcode=code)
            log("jobber", 420, "command failed, it was attempt 1/1, no more retries")
        log("jobber", 424, f"result for run: {result}")
        server.report(job["id"], step["index"], result)
        if status == "error":
            break
    log("jobber", 500, f"completed job {job['id']} with status {status}")


async def execute(command, directory):
    """The exit status of a command in a session of its own. An interrupt ends it."""
    process = await asyncio.create_subprocess_shell(
        command, cwd=directory, limit=LONGEST_LINE, start_new_session=True,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    try:
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                log("local_run", 140, f"IGNORED\n{traceback.format_exc()}", "WARNING")
                continue
            if not line:
                return await process.wait()
            log("local_run", 143, line.decode(errors="ignore").rstrip())
    except asyncio.CancelledError:
        os.killpg(process.pid, signal.SIGTERM)
        time.sleep(1)
        await asyncio.wait_for(process.wait(), timeout=1)
        raise


# asyncio says so of tasks that an interrupt ended; the real one's log has these lines too.
logging.basicConfig(level=logging.CRITICAL)
