"""The real drone-runner-exec against a fake Drone server."""

from driver import Driver, installed
from servers.drone import DroneServer


class DroneExec(Driver):
    name = "drone-runner-exec 1.0.0-beta.10"
    preset = "drone-runner"
    real = True
    outcomes = False
    cancels = False
    # "http: Server closed", after a drain too.
    exit_status = 1

    def setup(self):
        self.server = DroneServer()
        self.variables = self.bed.dir / "runner.env"
        self.variables.write_text(f"DRONE_RUNNER_CAPACITY={self.slots}\n")

    def command(self):
        return [installed("drone-runner-exec"), "daemon", self.variables]

    def env(self):
        return {
            "DRONE_RPC_HOST": self.server.address,
            "DRONE_RPC_SECRET": "secret",
            "DRONE_HTTP_BIND": "127.0.0.1:0",
        }

    def log_id(self, job):
        return job.id

    def fake_lines(self):
        return [
            f'time="2026-11-21T12:00:00Z" level=debug msg="{said}" '
            "stage.id=99 stage.name=default stage.number=1 thread=1"
            for said in ("stage accepted", "updated stage to complete")
        ]
