"""The Woodpecker agent: the real v1.0, and v3.17, which can end after one workflow, simulated."""

import json

from driver import Driver, installed
from servers.pool import Pool
from servers.rpc import RpcServer
from simulators import install


class Woodpecker(Driver):
    preset = "woodpecker"

    def command(self):
        return [self.program()]

    def env(self):
        return {
            "WOODPECKER_SERVER": self.address(),
            "WOODPECKER_AGENT_SECRET": "test",
            "WOODPECKER_BACKEND": "local",
            "WOODPECKER_MAX_WORKFLOWS": str(self.slots),
            "WOODPECKER_AGENT_CONFIG_FILE": str(self.bed.dir / "agent.conf"),
            "TMPDIR": str(self.bed.dir),
        }

    def log_id(self, job):
        return job.id

    def fake_lines(self):
        return [
            json.dumps({"level": "debug", id: "99", "message": said})
            for id in ("id", "workflow_id")
            for said in ("received execution", "updating pipeline status complete",
                         "signaling workflow stopped done")]


class Real(Woodpecker):
    name = "woodpecker-agent 1.0.5"
    real = True
    # With several its backend `local` crashes at times ("concurrent map writes").
    slots = (1,)
    drains = "wait-idle"
    # It panics at times when it cancels ("WaitGroup is reused"), before it reports.
    cancels = False
    # It sends what is no UTF-8 again and again, and the workflow never ends.
    prints_bytes = False

    def setup(self):
        self.server = RpcServer("woodpecker-server")

    def program(self):
        return installed("woodpecker-agent")

    def address(self):
        return self.server.agents


class Simulated(Woodpecker):
    def setup(self):
        self.server = Pool()
        self.path = self.bed.dir / "bin" / "woodpecker-agent"
        install.program("woodpecker", self.path)

    def program(self):
        return self.path

    def address(self):
        return self.server.url


class Single(Simulated):
    """One workflow a process, which the preset sees to."""

    name = "woodpecker-agent 3.17.0"
    slots = (1,)
    drains = "single-job"


class Several(Simulated):
    name = "woodpecker-agent 3.17.0 several"
    slots = (3,)
    drains = "wait-idle"
