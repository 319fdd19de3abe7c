"""Enough of GitLab's runner API to hand a runner jobs and take the results.

Runners ask with `POST /jobs/request`, send output with `PATCH /jobs/ID/trace` and the result with
`PUT /jobs/ID`. Model: network/gitlab.go and common/network.go of gitlab-runner, v17.9.
"""

import re
from collections import deque

from servers.rest import RestServer

API = "/api/v4"
JOB_PATH = re.compile(API + r"/jobs/(\d+)(/trace)?$")
# In seconds.
JOB_LIMIT = 3600
ABORTED = "runner_system_failure"


class GitlabServer(RestServer):
    def __init__(self):
        self.waiting = deque()
        # Job id: job, of those that a runner has.
        self.running = {}
        super().__init__()

    def offer(self, job):
        with self.changed:
            self.waiting.append(job)

    def answer(self, request):
        of_job = JOB_PATH.match(request.path)
        with self.changed:
            if of_job and request.method == "PATCH":
                return 202, None
            if of_job and request.method == "PUT":
                return self.take(of_job[1], request.body)
            if request.path == API + "/jobs/request":
                return self.hand_out()
        # `verify`, which newer runners ask at their start.
        return 200, {}

    def hand_out(self):
        if not self.waiting:
            return 204, None
        job = self.waiting.popleft()
        self.running[job.id] = job
        self.tell(job, "started")
        return 201, {
            "id": int(job.id),
            "token": f"job-token-{job.id}",
            "allow_git_fetch": True,
            "job_info": {"name": f"test {job.id}", "stage": "test", "project_id": 1,
                         "project_name": "project"},
            "git_info": {"repo_url": "https://gitlab.example/group/project.git", "ref": "main",
                         "sha": "0" * 40, "before_sha": "0" * 40, "ref_type": "branch"},
            "runner_info": {"timeout": JOB_LIMIT},
            "variables": [
                {"key": "GIT_STRATEGY", "value": "none", "public": True},
                {"key": "CI_JOB_ID", "value": job.id, "public": True},
                {"key": "CI_PROJECT_PATH", "value": "group/project", "public": True},
            ],
            "steps": [{"name": "script", "script": [job.script], "timeout": JOB_LIMIT,
                       "when": "on_success", "allow_failure": False}],
        }

    def take(self, id, body):
        """`running` is only a sign of life."""
        state = body["state"]
        job = self.running.get(id)
        if job and state in ("success", "failed"):
            del self.running[id]
            aborted = body.get("failure_reason") == ABORTED
            self.tell(job, "canceled" if aborted else
                      "passed" if state == "success" else "failed")
        return 200, None
