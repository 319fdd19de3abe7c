"""CircleCI's machine runner. Closed source, in no registry: simulated."""

from driver import Driver
from servers.pool import Pool
from simulators import install

CONFIG = """\
api:
  auth_token: token
runner:
  name: runner-name-001
"""


class Circleci(Driver):
    """The preset has its task-agents started through `clockout job exec`."""

    name = "circleci 3.1"
    preset = "circleci"
    slots = (1,)

    def setup(self):
        self.program = self.bed.dir / "bin" / "circleci-runner"
        install.program("circleci", self.program)
        self.config = self.bed.dir / "circleci-runner-config.yaml"
        self.config.write_text(CONFIG)
        self.server = Pool()

    def command(self):
        return [self.program, "machine", "--config", self.config]

    def env(self):
        return {"CIRCLECI_RUNNER_API_URL": self.server.url}


class CircleciSingle(Circleci):
    name = "circleci 3.1 single-task"
    drains = "single-job"

    def env(self):
        return {**super().env(), "CIRCLECI_RUNNER_MODE": "single-task"}

    def settle(self):
        # Each process says so once it handles signals.
        started = len(self.bed.events("agent.started"))
        self.bed.wait("the runner's first line",
                      lambda: self.bed.output().count(b"mode=single-task") == started)
