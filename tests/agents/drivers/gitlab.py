"""GitLab Runner with the shell executor.

It is in no registry, so it is simulated; a real one of yours is used besides where the environment
variable GITLAB_RUNNER names its program.
"""

import os

from driver import Driver
from servers.gitlab import GitlabServer
from simulators import install


class Gitlab(Driver):
    preset = "gitlab"
    arguments = ()

    def setup(self):
        self.server = GitlabServer()
        self.program = self.bed.dir / "bin" / "gitlab-runner"
        self.config = self.bed.dir / "config.toml"
        self.install()
        self.config.write_text(f"""\
concurrent = {self.slots}
check_interval = 1
shutdown_timeout = 20
{self.more_config()}
[[runners]]
  name = "box"
  url = "http://{self.server.address}/"
  token = "glrt-0123456789abcdef0"
  executor = "shell"
  builds_dir = "{self.bed.dir}/builds"
  cache_dir = "{self.bed.dir}/cache"
""")

    def install(self):
        install.program("gitlab", self.program)

    def more_config(self):
        return ""

    def command(self):
        return [self.program, *self.arguments, "run", "--config", self.config]

    def log_id(self, job):
        return job.id

    def fake_lines(self):
        return [f"{said} job from processing list                      "
                f"builds=1 job={id} max_builds=2 project=1"
                for said in ("Added", "Removed") for id in (1, 2)]


class Simulated(Gitlab):
    """The runner's own log format; its metrics where the preset puts them."""

    name = "gitlab 17.9"


class Json(Gitlab):
    """JSON, and metrics where the configuration puts them."""

    name = "gitlab 17.9 json"
    slots = (3,)
    arguments = ("--log-format", "json")

    def more_config(self):
        return f'listen_address = "127.0.0.1:{self.bed.port()}"\n'


class Real(Gitlab):
    name = "gitlab of yours" if os.environ.get("GITLAB_RUNNER") else ""
    real = True

    def install(self):
        self.program.parent.mkdir()
        self.program.symlink_to(os.environ["GITLAB_RUNNER"])
