"""Enough of Buildkite's agent API to register agents, hand them jobs and take the results.

Agents poll `GET /ping`. Models: api/*.go and agent/fake_api_server_test.go of
github.com/buildkite/agent.
"""

import re
from collections import deque

from servers.rest import RestServer

JOB_PATH = re.compile(r"/jobs/([0-9a-f-]{36})(?:/(\w+))?$")
# Why a job's process ended, where the agent ended it.
CANCELED = ("agent_stop", "cancel")


class BuildkiteServer(RestServer):
    def __init__(self):
        self.waiting = deque()
        # uuid: job. Those that an agent may accept, and those that it runs.
        self.assigned = {}
        self.running = {}
        # Agent's token: uuid of the job that it was last handed.
        self.handed = {}
        # Jobs that agents may not accept, and that they may not start.
        self.refused = set()
        self.failing = set()
        # Agent's token: its name.
        self.agents = {}
        super().__init__()

    @staticmethod
    def uuid(job):
        return f"00000000-0000-4000-8000-{int(job.id):012d}"

    def offer(self, job):
        with self.changed:
            self.waiting.append(job)

    def refuse(self, job):
        """Offers a job whose acceptance is refused: it was cancelled meanwhile."""
        with self.changed:
            self.refused.add(self.uuid(job))
            self.waiting.append(job)

    def fail_to_start(self, job):
        """Offers a job whose start is refused: it was cancelled after its acceptance."""
        with self.changed:
            self.failing.add(self.uuid(job))
            self.waiting.append(job)

    def answer(self, request):
        agent = request.headers.get("Authorization", "").removeprefix("Token ")
        of_job = JOB_PATH.match(request.path)
        with self.changed:
            if of_job:
                return self.job(request, *of_job.groups(), agent)
            match request.method, request.path:
                case "POST", "/register":
                    return 200, self.register(request.body)
                case "GET", "/ping":
                    return 200, self.ping(agent)
                case "POST", "/disconnect":
                    self.hand_back(agent)
                    return 200, {}
                case "POST", "/connect" | "/heartbeat":
                    return 200, request.body or {}
        return 404, {"message": f"no {request.method} {request.path}"}

    def register(self, body):
        number = len(self.agents) + 1
        token = f"agent-{number}"
        self.agents[token] = body["name"]
        return {
            "id": f"00000000-0000-4000-9000-{number:012d}",
            "name": body["name"],
            "access_token": token,
            "endpoint": f"http://{self.address}",
            "ping_interval": 1,
            "job_status_interval": 1,
            "heartbeat_interval": 5,
            "meta_data": [],
        }

    def ping(self, agent):
        """The job that this agent was handed and has not answered for, or the next."""
        uuid = self.handed.get(agent)
        if uuid is None and self.waiting:
            job = self.waiting.popleft()
            uuid = self.uuid(job)
            self.assigned[uuid] = job
            self.handed[agent] = uuid
        return {"job": {"id": uuid}} if uuid in self.assigned else {}

    def hand_back(self, agent):
        job = self.assigned.pop(self.handed.pop(agent, None), None)
        if job:
            self.waiting.appendleft(job)

    def job(self, request, uuid, deed, agent):
        match request.method, deed:
            case "PUT", "accept":
                return self.accept(uuid, agent)
            case "PUT", "start" if uuid in self.failing:
                return 422, {"message": "this job is not to be started"}
            case "PUT", "start":
                self.tell(self.running[uuid], "started")
                return 200, {}
            case "PUT", "finish":
                return self.finish(uuid, request.body)
            case "GET", None:
                return 200, {"state": "running"}
        # Output, times, metadata and the like.
        return 200, {}

    def accept(self, uuid, agent):
        job = self.assigned.pop(uuid, None)
        self.handed.pop(agent, None)
        if job is None or uuid in self.refused:
            return 422, {"message": "this job is not to be accepted"}
        self.running[uuid] = job
        return 200, {
            "id": uuid,
            "state": "accepted",
            "endpoint": f"http://{self.address}",
            "env": environment(uuid, job, self.agents[agent]),
            "step": {},
            "chunks_max_size_bytes": 1 << 20,
            "token": f"job-{uuid}",
        }

    def finish(self, uuid, body):
        job = self.running.pop(uuid, None)
        if job is None:
            return 422, {"message": "this job does not run"}
        if body.get("signal_reason") in CANCELED:
            word = "canceled"
        else:
            word = "passed" if body.get("exit_status") == "0" else "failed"
        self.tell(job, word)
        return 200, {}


def environment(uuid, job, agent):
    """What the bootstrap insists on, and the command. No repository is checked out."""
    return {
        "BUILDKITE_JOB_ID": uuid,
        "BUILDKITE_AGENT_NAME": agent,
        "BUILDKITE_BUILD_ID": uuid,
        "BUILDKITE_BUILD_NUMBER": job.id,
        "BUILDKITE_BUILD_URL": f"https://buildkite.example/org/pipeline/builds/{job.id}",
        "BUILDKITE_ORGANIZATION_SLUG": "org",
        "BUILDKITE_PIPELINE_SLUG": "pipeline",
        "BUILDKITE_PIPELINE_PROVIDER": "none",
        "BUILDKITE_REPO": "none",
        "BUILDKITE_BRANCH": "main",
        "BUILDKITE_COMMIT": "HEAD",
        "BUILDKITE_BOOTSTRAP_PHASES": "plugin,command",
        "BUILDKITE_COMMAND": job.script,
    }
