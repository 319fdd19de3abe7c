"""GitHub Actions runner. Its binaries are .NET and in no registry: simulated."""

from drivers.dotnet import REMOVE_TOKEN, DotnetDriver


class Github(DotnetDriver):
    """One job a process: what the preset does by itself."""

    name = "github 2.336"
    preset = "github"
    simulator = "github"
    programs = ("Runner.Listener", "Runner.Worker")
    drains = "single-job"


class GithubListener(Github):
    """Without run.sh, as in images of one's own."""

    name = "github 2.336 Runner.Listener"

    def command(self):
        return [self.home / "bin" / "Runner.Listener", "run"]


class GithubRemoved(Github):
    """With a token, the server is asked to remove the runner, which it refuses while it is busy."""

    name = "github 2.336 remove token"

    def env(self):
        return {"CLOCKOUT_GITHUB_REMOVE_TOKEN": REMOVE_TOKEN}
