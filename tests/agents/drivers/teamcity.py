"""TeamCity's agent. It is handed out by its server only: simulated."""

import json

from driver import Driver
from servers.pool import Pool
from simulators import install

SAMPLED = "builds are seen by looking for their processes once a second: shorter ones can be missed"


class Teamcity(Driver):
    name = "teamcity 2024.03"
    preset = "teamcity"
    slots = (1,)
    drains = "command"
    outcomes = False
    unsupported = {"count": SAMPLED, "max-jobs": SAMPLED}

    def setup(self):
        self.home = self.bed.dir / "buildAgent"
        install.copies("teamcity", self.home / "bin")
        install.program("teamcity", self.home / "bin" / "java")
        self.server = Pool()
        (self.home / "simulator.json").write_text(json.dumps({"server": self.server.url}))

    def command(self):
        return [self.home / "bin" / "agent.sh", "run"]
