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


class GithubHooks(Github):
    """Its hooks give each job the id that its lines have not."""

    name = "github 2.336 hooks"

    def env(self):
        hooks = {}
        for when, verb in (("STARTED", "start"), ("COMPLETED", "finish")):
            script = self.bed.dir / f"{verb}.sh"
            script.write_text(f'{self.bed.clockout} job {verb} --strict "$GITHUB_RUN_ID"\n')
            hooks[f"ACTIONS_RUNNER_HOOK_JOB_{when}"] = str(script)
        return hooks


class GithubRemoved(Github):
    """With a token, the server is asked to remove the runner, which it refuses while it is busy."""

    name = "github 2.336 remove token"

    def env(self):
        return {"CLOCKOUT_GITHUB_REMOVE_TOKEN": REMOVE_TOKEN}
