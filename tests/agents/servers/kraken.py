"""Enough of a Kraken server to hand its agents jobs and take the results.

One endpoint, `POST /backend`; the agent says in `msg` what it wants. Models: handle_agent_request
in server/kraken/server/backend.py of github.com/Kraken-CI/kraken, v1.7.36. As there, a job is the
agent's own (known by its address) until its last step is done: an agent that asks for a job while
it has one was killed. This server gives the lost job to nobody.
"""

from collections import deque

from servers.rest import RestServer

# In seconds. A step's own limit is a minute unless the job says otherwise.
JOB_LIMIT = 3600
WORDS = {"in-progress": "started", "done": "passed", "error": "failed"}


class KrakenServer(RestServer):
    def __init__(self):
        self.waiting = deque()
        # What the agent runs, and whether its only step is still to be done.
        self.job = None
        self.step_left = False
        # How many times an agent asked for a job.
        self.asked = 0
        # Called at each such question, before it is answered.
        self.on_asked = lambda: None
        super().__init__()

    def offer(self, job):
        with self.changed:
            self.waiting.append(job)

    def answer(self, request):
        said = request.body
        match said["msg"]:
            case "host-info":
                return 200, {"agent_id": 1, "cfg": {}}
            case "get-job":
                self.on_asked()
                with self.changed:
                    return 200, {"job": self.next_job()}
            case "get-job-step":
                with self.changed:
                    return 200, {"job_step": self.next_step()}
            case "step-result2":
                with self.changed:
                    self.take(said["result"]["status"])
        return 200, {}

    def next_job(self):
        self.asked += 1
        self.changed.notify_all()
        if self.job:
            self.tell(self.job, "lost")
            self.job = None
        if not self.waiting:
            return {}
        self.job = self.waiting.popleft()
        self.step_left = True
        return {
            "id": int(self.job.id),
            "name": f"job {self.job.id}",
            "run_id": 1,
            "flow_id": 1,
            "flow_kind": 0,
            "branch_id": 1,
            "timeout": JOB_LIMIT,
            "executor": "local",
            "secrets": [],
        }

    def next_step(self):
        if self.job is None or not self.step_left:
            self.job = None
            return {"finish": True}
        self.step_left = False
        return {
            "finish": False,
            "id": int(self.job.id),
            "index": 0,
            "tool": "shell",
            "cmd": self.job.script,
            "timeout": JOB_LIMIT,
        }

    def take(self, status):
        if self.job and status in WORDS:
            self.tell(self.job, WORDS[status])
            if status == "error":
                # The agent asks for no further step then.
                self.job = None
