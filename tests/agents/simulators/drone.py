#!/usr/bin/env python3
"""Drone agents that no registry has: `drone-agent` 0.8 and 1.x, and `drone-runner-docker`.

Lines and signals are those of cmd/drone-agent/agent.go (v0.8.10), operator/runner/runner.go
(v1.6.5) of github.com/drone/drone, and of github.com/drone-runners/drone-runner-docker v1.8.3.
All three talk to the fake server as runners do (RPC v2), which none of the lines depends on. A
job's script runs in a session of its own: as a container, it is beyond the agent's signals.
"""

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time


def say(line):
    """One whole line on stderr."""
    os.write(2, line.encode() + b"\n")


def stamp():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Agent08:
    """zerolog: the message is `message`."""

    slots = "DRONE_MAX_PROCS"
    exit_status = 0

    def log(self, level, message, **fields):
        say(json.dumps({"time": stamp(), "level": level, **fields, "message": message}))

    def of(self, job):
        return {"repo": "octocat/hello", "build": str(job), "id": str(job)}

    def begin(self):
        """It has nothing to say before it polls."""

    def polling(self, thread):
        self.log("debug", "request next execution")

    def started(self, job, thread):
        self.log("debug", "received execution", **self.of(job))
        self.log("debug", "listen for cancel signal", **self.of(job))

    def finished(self, job, thread, code):
        for message in ("pipeline complete", "updating pipeline status"):
            self.log("debug", message, **self.of(job), error="", exit_code=code)
        self.log("debug", "updating pipeline status complete", **self.of(job))
        # Its context ends with the job.
        self.log("warn", "cancel signal received", **self.of(job), error="context canceled")
        self.log("debug", "pipeline done", **self.of(job))

    def signalled(self):
        say("ctrl+c received, terminating process")

    def ended(self):
        self.log("error", "pipeline done with error",
                 error="rpc error: code = Canceled desc = context canceled")


class Agent1(Agent08):
    """logrus as JSON: the message is `msg`, keys are sorted."""

    slots = "DRONE_RUNNER_CAPACITY"

    def log(self, level, message, **fields):
        fields |= {"level": level, "msg": message, "time": stamp(),
                   "arch": "amd64", "machine": "machine", "os": "linux"}
        say(json.dumps(fields, sort_keys=True, separators=(",", ":")))

    def of(self, job):
        return {"stage-id": job, "repo": "octocat/hello", "build": job, "stage": 1}

    def polling(self, thread):
        self.log("debug", "runner: polling queue")

    def started(self, job, thread):
        self.log("debug", "runner: get stage details from server", **{"stage-id": job})
        self.log("info", "runner: start execution", **self.of(job))

    def finished(self, job, thread, code):
        if code:
            error = f"run : exit code {code}"
            self.log("info", "runner: execution failed", **self.of(job), error=error)
        else:
            self.log("info", "runner: execution complete", **self.of(job), error=None)

    def ended(self):
        self.log("warning", "program terminated", error="context canceled")


class Runner:
    """logrus as text, below debug silent about stages."""

    slots = "DRONE_RUNNER_CAPACITY"
    # "http: Server closed" is an error to it.
    exit_status = 1

    def __init__(self):
        self.debug = os.environ.get("DRONE_DEBUG") == "true"

    def begin(self):
        self.log("info", "starting the server", 'addr=":3000"')
        self.log("info", "successfully pinged the remote server")
        self.log("info", "polling the remote server",
                 "arch=amd64 capacity=2 kind=pipeline os=linux type=docker")

    def log(self, level, message, fields=""):
        if level != "debug" or self.debug:
            say(f'time="{stamp()}" level={level} msg="{message}" {fields}'.rstrip())

    def of(self, job, thread, fetched=True):
        stage = f"stage.id={job} stage.name=default stage.number=1 thread={thread}"
        data = f"build.id={job} build.number={job} repo.id=1 repo.name=hello repo.namespace=octocat"
        return f"{data} {stage}" if fetched else stage

    def polling(self, thread):
        self.log("debug", "poller: request stage from remote server", f"thread={thread}")

    def started(self, job, thread):
        for message in ("stage received", "stage accepted"):
            self.log("debug", message, self.of(job, thread, fetched=False))
        for message in ("stage details fetched", "updated stage to running"):
            self.log("debug", message, self.of(job, thread))

    def finished(self, job, thread, code):
        if code:
            self.log("debug", f"received exit code {code}",
                     self.of(job, thread).replace("thread=", "step.name=run thread="))
        self.log("debug", "updated stage to complete", "duration=1 " + self.of(job, thread))

    def signalled(self):
        say("received signal, terminating process")

    def ended(self):
        self.log("error", "shutting down the server", 'error="http: Server closed"')
        say("drone: error: http: Server closed, try --help")


class Worker(threading.Thread):
    """Polls, and runs what it gets: one of the agent's slots."""

    def __init__(self, agent, number):
        super().__init__(daemon=True)
        self.agent = agent
        self.number = number
        self.stopping = threading.Event()
        # The connection on which it waits for a job.
        self.poll = None

    def run(self):
        while not self.stopping.is_set():
            self.agent.polling(self.number)
            try:
                self.poll = connect()
                if self.stopping.is_set():
                    return  # stop() may have come too early to hang up.
                stage = call(self.poll, "POST", "/rpc/v2/stage", {"kind": "pipeline"})
            except (OSError, http.client.HTTPException):
                continue  # stop() has hung up.
            # Whose connection is kept until the server knows who runs the stage.
            if stage and call(connect(), "POST", f"/rpc/v2/stage/{stage['id']}?machine=machine"):
                self.poll = None
                self.work(stage)

    def work(self, stage):
        path = f"/rpc/v2/stage/{stage['id']}"
        details = call(connect(), "GET", path)
        self.agent.started(stage["id"], self.number)
        call(connect(), "PUT", path, {**stage, "status": "running"})
        pipeline = base64.b64decode(details["config"]["Data"]).decode()
        script = pipeline.strip().rpartition("- ")[2]
        code = subprocess.run([script], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True).returncode
        call(connect(), "PUT", path, {**stage, "status": "failure" if code else "success"})
        self.agent.finished(stage["id"], self.number, code)

    def stop(self):
        self.stopping.set()
        poll = self.poll
        if poll and poll.sock:
            poll.sock.shutdown(2)


def connect():
    connection = http.client.HTTPConnection(os.environ["DRONE_RPC_HOST"])
    connection.connect()
    return connection


def call(connection, method, path, body=None):
    """What the server answers; None where it has nothing to say."""
    connection.request(method, path, json.dumps(body) if body else None)
    answer = connection.getresponse()
    text = answer.read()
    return json.loads(text) if answer.status == 200 and text else None


def main():
    if os.path.basename(sys.argv[0]) == "drone-agent":
        agent = Agent08() if os.environ["SIMULATED_VERSION"] == "0.8" else Agent1()
    else:
        agent = Runner()
    workers = [Worker(agent, n + 1) for n in range(int(os.environ[agent.slots]))]

    def drain(*_):
        # As Go programs do that stop listening to signals after the first.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        agent.signalled()
        for worker in workers:
            worker.stop()

    signal.signal(signal.SIGTERM, drain)
    signal.signal(signal.SIGINT, drain)
    agent.begin()
    for worker in workers:
        worker.start()
    for worker in workers:
        # Not for ever: a signal just before the wait is handled only after it.
        while worker.is_alive():
            worker.join(0.05)
    agent.ended()
    return agent.exit_status


if __name__ == "__main__":
    sys.exit(main())
