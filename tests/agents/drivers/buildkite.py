"""The real Buildkite agent, in the versions whose lines differ, against a fake Buildkite.

Its jobs run in the real bootstrap, without a checkout.
"""

import json
import re

from driver import Driver, installed
from servers.buildkite import BuildkiteServer


class Buildkite(Driver):
    preset = "buildkite"
    real = True
    # In the file name of the program, and in the row's name.
    version = ""
    # The agent's hooks: name, shell command.
    hooks = {}

    def setup(self):
        self.server = BuildkiteServer()
        for name in ("bin", "hooks"):
            (self.bed.dir / name).mkdir()
        self.program = self.bed.dir / "bin" / "buildkite-agent"
        self.program.symlink_to(installed(f"buildkite-agent-{self.version}"))
        for name, command in self.hooks.items():
            hook = self.bed.dir / "hooks" / name
            hook.write_text(f"#!/bin/sh\n{command}\n")
            hook.chmod(0o755)

    def command(self):
        return [
            self.program, "start",
            "--endpoint", f"http://{self.server.address}",
            "--token", "registration",
            "--name", "agent-%spawn",
            "--build-path", self.bed.dir / "builds",
            "--hooks-path", self.bed.dir / "hooks",
            "--plugins-path", self.bed.dir / "plugins",
            "--shell", "/bin/sh -e -c",
            *self.arguments(),
        ]

    def arguments(self):
        return ["--spawn", str(self.slots)]

    def log_id(self, job):
        return self.server.uuid(job)

    def fake_lines(self):
        """Each of them alone, and in both forms of a log. The first job's id is known."""
        uuid = "00000000-0000-4000-8000-000000000001"
        said = [f"Finished job {uuid}", f"Finished job at https://b/1#{uuid}",
                "Starting job 00000000-0000-4000-8000-999999999999",
                "Process with PID: 1 finished with Exit Status: 1, Signal: nil"]
        text = [f"2026-11-21 12:00:00 INFO   agent-1 {line} " for line in said]
        js = [json.dumps({"ts": "2026-11-21T12:00:00Z", "level": "INFO", "msg": line,
                          "agent": "agent-1"}) for line in said]
        return said + text + js


class Text(Buildkite):
    """Coloured text on stderr; how many workers it has is in its configuration file."""

    name = "buildkite 3.116.0"
    version = "3.116"

    def setup(self):
        super().setup()
        self.config = self.bed.dir / "buildkite-agent.cfg"
        self.config.write_text(f'# As the package installs it.\nspawn="{self.slots}"\n')

    def arguments(self):
        return ["--config", self.config]


class Json(Buildkite):
    """JSON on stdout, where the jobs' output is too."""

    name = "buildkite 3.116.0 json"
    version = "3.116"
    mixes_output = True

    def arguments(self):
        return ["--log-format", "json", "--write-job-logs-to-stdout"]

    def env(self):
        return {"BUILDKITE_AGENT_SPAWN": str(self.slots)}


class Hook(Buildkite):
    """Its log tells no outcomes: the preset is a user's, without them. A hook does."""

    name = "buildkite 3.116.0 hook"
    version = "3.116"

    def setup(self):
        report = (f'{self.bed.clockout} job finish "$BUILDKITE_JOB_ID" '
                  '--exit-code "$BUILDKITE_COMMAND_EXIT_STATUS"')
        self.hooks = {"pre-exit": report}
        super().setup()
        built_in = self.bed.ask("preset", "show", "buildkite").stdout
        silent, changes = re.subn(r"(?ms)^outcome = \[$.*?^\]$", "", built_in)
        assert changes == 2
        presets = self.bed.dir / "presets"
        presets.mkdir()
        (presets / "buildkite.toml").write_text(silent)

    def env(self):
        return {"CLOCKOUT_PRESETS_DIR": str(self.bed.dir / "presets")}


class Old(Buildkite):
    """Its lines name the job only, and it has no status.json."""

    name = "buildkite 3.60.0"
    version = "3.60"


class New(Buildkite):
    """Its lines have the build's address with the job's id as the fragment."""

    name = "buildkite 3.137.0"
    version = "3.137"

    def env(self):
        # Else it asks for a stream first, which the fake server does not have.
        return {"BUILDKITE_AGENT_PING_MODE": "poll-only"}
