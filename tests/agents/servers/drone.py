"""Enough of Drone's runner API (RPC v2) to hand stages to runners and take the results.

Runners hold `POST /rpc/v2/stage` open until there is a stage. A stage belongs to the runner that
accepts it: until then it is handed out again, since a runner that drains may hang up on it.
Models: client/http.go and client/client.go of github.com/drone/runner-go.
"""

import base64
import re

from servers.rest import RestServer

STAGE_PATH = re.compile(r"/rpc/v2/stage/(\d+)$")
WATCH_PATH = re.compile(r"/rpc/v2/build/\d+/watch$")
ENDS = {"success": "passed", "failure": "failed", "error": "failed", "killed": "canceled"}

PIPELINE = """
kind: pipeline
type: exec
name: default
clone:
  disable: true
steps:
- name: run
  commands:
  - {script}
"""


class DroneServer(RestServer):
    def __init__(self):
        # Job id: job. Those to hand out, and those that a runner has accepted.
        self.waiting = {}
        self.accepted = {}
        # Job id: the poll that it was handed to.
        self.handed = {}
        super().__init__()

    def offer(self, job):
        with self.changed:
            self.waiting[job.id] = job
            self.changed.notify_all()

    def answer(self, request):
        of_stage = STAGE_PATH.match(request.path)
        if of_stage:
            return self.stage(request, of_stage[1])
        if request.path == "/rpc/v2/stage":
            job = self.hold(request, lambda: self.next_job(request))
            return (204, None) if job is None else (200, stage(job))
        if WATCH_PATH.match(request.path):
            # Nobody cancels a build here. The runner hangs up when the stage is over.
            self.hold(request)
            return 204, None
        if request.path.startswith("/rpc/v2/step/"):
            return 200, request.body if request.method == "PUT" else None
        return 204, None

    def next_job(self, request):
        """The oldest that no other poll, still there, was handed."""
        for job in self.waiting.values():
            if job.id not in self.handed or self.handed[job.id].hung_up():
                self.handed[job.id] = request
                return job
        return None

    def stage(self, request, id):
        with self.changed:
            match request.method:
                case "POST":
                    job = self.waiting.pop(id, None)
                    if job is None:
                        return 409, None
                    self.accepted[id] = job
                    return 200, stage(job)
                case "GET":
                    return 200, details(self.accepted[id])
                case _:
                    return 200, self.update(self.accepted[id], request.body)

    def update(self, job, told):
        """What a runner says of its stage; steps get their ids here."""
        if told["status"] == "running":
            self.tell(job, "started")
        elif told["status"] in ENDS:
            self.tell(job, ENDS[told["status"]])
        for step in told.get("steps", []):
            step["id"] = int(job.id) * 100 + step["number"]
        return told


def stage(job):
    return {
        "id": int(job.id),
        "build_id": int(job.id),
        "number": 1,
        "name": "default",
        "kind": "pipeline",
        "type": "exec",
        "status": "pending",
        "os": "linux",
        "arch": "amd64",
    }


def details(job):
    pipeline = PIPELINE.format(script=job.script)
    return {
        "build": {"id": int(job.id), "number": int(job.id), "event": "push", "target": "main"},
        "config": {"Data": base64.b64encode(pipeline.encode()).decode()},
        "netrc": {},
        "repository": {
            "id": 1,
            "namespace": "octocat",
            "name": "hello",
            "slug": "octocat/hello",
            "timeout": 60,
        },
        "secrets": [],
        "system": {"proto": "https", "host": "drone.example"},
    }
