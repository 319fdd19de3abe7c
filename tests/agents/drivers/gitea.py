"""The runners of Gitea Actions: the real one, and a later one, simulated."""

import json

from driver import Driver, installed
from servers.rpc import RpcServer
from simulators import install


class Gitea(Driver):
    preset = "gitea"
    # Its log has no outcomes; 2.0 brought the hook that tells them.
    outcomes = False
    # The signal after the first is swallowed: it is killed.
    cancels = False
    log_level = "info"
    arguments = ()

    def setup(self):
        self.server = RpcServer("gitea-server")
        registration = {
            "id": 1, "uuid": "test", "name": "test", "token": "test",
            "address": f"http://{self.server.agents}", "labels": ["x:host"],
        }
        (self.bed.dir / "runner.json").write_text(json.dumps(registration))
        settings = {
            "log": {"level": self.log_level},
            "runner": {
                "file": self.bed.dir / "runner.json", "capacity": self.slots,
                "shutdown_timeout": "3h", "fetch_interval": "200ms",
                "fetch_interval_max": "200ms", **self.runner_settings(),
            },
            "cache": {"enabled": "false"},
            "metrics": self.metrics(),
        }
        lines = []
        for section, keys in settings.items():
            lines.append(f"{section}:")
            lines += [f"  {key}: {value}" for key, value in keys.items()]
        self.config = self.bed.dir / "config.yaml"
        self.config.write_text("\n".join(lines) + "\n")

    def runner_settings(self):
        return {}

    def metrics(self):
        return {"enabled": "true", "addr": f"127.0.0.1:{self.bed.port()}"}

    def command(self):
        return [self.program(), "daemon", "--config", self.config, *self.arguments]

    def log_id(self, job):
        return job.id

    def fake_lines(self):
        return [f'time="2026-11-21T12:00:00Z" level=info msg="{said}"' for said in (
            "task 99 repo is owner/repository https://github.com http://127.0.0.1",
            r'running post-task script \"/bin/true\" for task 1')]


class Real(Gitea):
    name = "gitea-runner 1.0.8"
    real = True

    def program(self):
        return installed("gitea-runner")


class RealDebug(Real):
    """The job's output is on its stdout."""

    name = "gitea-runner 1.0.8 debug"
    slots = (1,)
    log_level = "debug"
    mixes_output = True


class RealOnce(Real):
    """One job a process: it needs no metrics."""

    name = "gitea-runner 1.0.8 once"
    slots = (1,)
    drains = "single-job"
    arguments = ("--once",)

    def metrics(self):
        return {"enabled": "false"}


class Hook(Gitea):
    """3.3 with a script that it runs after each task, and that tells how the job ended."""

    name = "gitea-runner 3.3.0"
    outcomes = True

    def program(self):
        path = self.bed.dir / "bin" / "gitea-runner"
        install.program("gitea", path)
        return path

    def runner_settings(self):
        # As the preset's notes.hook, but for the places of the test. The runner hands on nothing
        # of its environment.
        script = self.bed.dir / "post-task"
        script.write_text(
            "#!/bin/sh\n"
            f'[ "$GITEA_JOB_RESULT" = success ]; exec {self.bed.clockout} '
            f'job finish "$GITEA_TASK_ID" --exit-code $? --socket {self.bed.socket}\n')
        script.chmod(0o755)
        return {"post_task_script": script}
