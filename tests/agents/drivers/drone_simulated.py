"""Drone's agents that no registry has; see simulators/drone.py."""

import json
from pathlib import Path

from driver import Driver
from servers.drone import DroneServer

SIMULATOR = Path(__file__).parent.parent / "simulators" / "drone.py"


class Drone(Driver):
    # A second signal kills it where it is.
    cancels = False
    # The program's name, and how it is told how many jobs it runs at once.
    program = "drone-agent"
    slots_variable = "DRONE_RUNNER_CAPACITY"
    version = ""

    def setup(self):
        self.server = DroneServer()
        (self.bed.dir / "bin").mkdir()
        (self.bed.dir / "bin" / self.program).symlink_to(SIMULATOR)

    def command(self):
        return [self.bed.dir / "bin" / self.program]

    def env(self):
        return {
            "DRONE_RPC_HOST": self.server.address,
            "SIMULATED_VERSION": self.version,
            self.slots_variable: str(self.slots),
        }

    def log_id(self, job):
        return job.id


class Agent08(Drone):
    name = "drone-agent 0.8.10"
    preset = "drone"
    version = "0.8"
    slots_variable = "DRONE_MAX_PROCS"

    def fake_lines(self):
        return [json.dumps({"level": "debug", "id": "99", "message": said})
                for said in ("received execution", "updating pipeline status complete")]


class Agent1(Drone):
    name = "drone-agent 1.6.5"
    preset = "drone"
    version = "1"

    def fake_lines(self):
        return [json.dumps({"level": "info", "msg": said, "stage-id": 99})
                for said in ("runner: start execution", "runner: execution complete")]


class RunnerDocker(Drone):
    name = "drone-runner-docker 1.8.3"
    preset = "drone-runner"
    program = "drone-runner-docker"
    outcomes = False
    exit_status = 1

    def fake_lines(self):
        return [
            f'time="2026-11-21T12:00:00Z" level=debug msg="{said}" '
            "stage.id=99 stage.name=default stage.number=1 thread=1"
            for said in ("stage accepted", "updated stage to complete")
        ]
