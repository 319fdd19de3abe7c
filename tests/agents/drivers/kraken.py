"""The agent of Kraken CI.

It is in no registry, so it is simulated; a real one of yours is used besides where the environment
variable KKAGENT names its program. It needs /opt/kraken/kktool and sudo.
"""

import os

from driver import Driver
from servers.kraken import KrakenServer
from simulators import install


class Kraken(Driver):
    preset = "kraken"
    slots = (1,)
    mixes_output = True
    # It ends the job, but tells nobody: the server waits until the job's time is over.
    cancels = False

    def setup(self):
        self.server = KrakenServer()
        self.program = self.bed.dir / "bin" / "kkagent"
        self.install()

    def install(self):
        install.program("kraken", self.program)

    def command(self):
        return [self.program, "run", "-s", f"http://{self.server.address}",
                "-d", self.bed.dir / "data"]

    def log_id(self, job):
        return job.id

    def fake_lines(self):
        stamp = "2026-11-21 10:01:52,710 INFO p:31852"
        return [
            f"{stamp}   jobber:500   completed job 1 with status error",
            f"{stamp}   jobber:500   completed job 2 with status error",
            f"{stamp}    agent:193   >>>>>> received job: {{'id': 7, 'run_id': 1}}",
            f"{stamp}    agent:193   >>>>>> received job: {{}}",
            f"{stamp}    agent:52    job interrupted by exception",
        ]


class OneJob(Kraken):
    """What the preset does by itself: one job a process."""

    name = "kraken 1.7.36"
    drains = "single-job"


class Real(OneJob):
    name = "kraken of yours" if os.environ.get("KKAGENT") else ""
    real = True

    def install(self):
        self.program.parent.mkdir()
        self.program.symlink_to(os.environ["KKAGENT"])
