"""A real Buildbot worker with its real master."""

import subprocess

from driver import Driver, agents_dir
from servers.buildbot import BuildbotMaster


class Buildbot(Driver):
    preset = "buildbot"
    real = True
    # The worker dies of it, and the master repeats the build.
    cancels = False
    # Where the master's REST API is, if anywhere.
    www_port = None

    def setup(self):
        venv = agents_dir().parent / "buildbot"
        assert (venv / "installed").exists(), f"{venv} is missing: run scripts/agents-setup"
        self.worker = venv / "bin" / "buildbot-worker"
        port = self.bed.port()
        self.master = BuildbotMaster(
            self.bed.dir / "master", venv, port, self.slots, self.told_by(), self.www_port)
        # As its author would; the worker's own log is in this directory too.
        self.base = self.bed.dir / "worker"
        subprocess.run(
            [self.worker, "create-worker", "--quiet", "--allow-shutdown=signal", self.base,
             f"127.0.0.1:{port}", "worker", "secret"],
            check=True, stdin=subprocess.DEVNULL)
        self.bed.wait("a running master", self.master.is_running)

    def told_by(self):
        return ""

    def command(self):
        return [self.worker, "start", "--nodaemon", self.base]

    def options(self):
        # Only the master knows.
        return ["--slots", str(self.slots)]

    def offer(self, job):
        self.master.offer(job)

    def heard(self):
        return self.master.heard()

    def fake_lines(self):
        return [f"2026-11-21 16:18:05+0000 [Broker,client] {said}" for said in (
            "message from master: ping",
            "(command 1): startCommand:shell",
            "(command 0): ProtocolCommandBase.command_complete (success) <x>",
        )]

    def stop(self):
        if hasattr(self, "master"):
            self.master.stop()


class Told(Buildbot):
    """The last step of each build tells how it went."""

    name = "buildbot 4.3.0"

    def told_by(self):
        return self.bed.clockout


class Untold(Buildbot):
    """As it comes: builds are seen to begin, and to be over when no command ran for a while."""

    name = "buildbot 4.3.0 as it comes"
    slots = (3,)
    outcomes = False
