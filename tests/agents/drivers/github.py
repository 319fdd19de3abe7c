"""GitHub Actions runner. Its binaries are .NET and in no registry: simulated."""

import json

from driver import Driver
from servers.pool import Pool
from simulators import install

TOKEN = "remove-me"


class Github(Driver):
    """One job a process: what the preset does by itself, with `--once`."""

    name = "github 2.336"
    preset = "github"
    slots = (1,)
    drains = "single-job"

    def setup(self):
        self.runner = self.bed.dir / "actions-runner"
        install.copies("github", self.runner)
        for program in ("Runner.Listener", "Runner.Worker"):
            install.program("github", self.runner / "bin" / program)
        self.server = Pool()
        about = {"server": self.server.url, "remove_token": TOKEN}
        (self.runner / "simulator.json").write_text(json.dumps(about))

    def command(self):
        return [self.runner / "run.sh"]

    def offer(self, job):
        # The names of jobs are whatever their authors like.
        self.server.offer(job, name=f"test ({job.id}): Job it completed with result: Failed")

    def heard(self):
        return self.server.heard()

    def fake_lines(self):
        return [
            "2026-08-17 13:16:44Z: Job test completed with result: Succeeded",
            "2026-08-17 13:16:44Z: Running job: test",
            "2026-08-17 13:16:44Z: Listening for Jobs",
        ]

    def stop(self):
        if hasattr(self, "server"):
            self.server.stop()
