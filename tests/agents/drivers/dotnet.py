"""What the drivers of the two .NET agents share; see simulators/dotnet.py."""

import json

from driver import Driver
from servers.pool import Pool
from simulators import install

REMOVE_TOKEN = "remove-me"
# In seconds: a call to the service, far away.
ON_THE_WAY = 0.1


class DotnetDriver(Driver):
    """A directory with run.sh and bin/, in which one runner is configured."""

    # The simulator, and what its programs are called.
    simulator = ""
    programs = ()
    # Further settings of the simulator.
    settings = {}
    slots = (1,)

    def setup(self):
        self.home = self.bed.dir / "agent"
        install.copies(self.simulator, self.home)
        for program in self.programs:
            install.program(self.simulator, self.home / "bin" / program)
        self.server = Pool(ON_THE_WAY)
        about = {"server": self.server.url, "remove_token": REMOVE_TOKEN, **self.settings}
        (self.home / "simulator.json").write_text(json.dumps(about))

    def command(self):
        return [self.home / "run.sh"]

    def offer(self, job, **more):
        # The names of jobs are whatever their authors like.
        more.setdefault("name", f"test ({job.id}): Job it completed with result: Failed")
        self.server.offer(job, **more)

    def fake_lines(self):
        return [
            "2026-08-17 13:16:44Z: Job test completed with result: Succeeded",
            "2026-08-17 13:16:44Z: Running job: test",
            "2026-08-17 13:16:44Z: Listening for Jobs",
        ]
