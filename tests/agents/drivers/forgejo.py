"""The runner of Forgejo Actions: simulated, no registry has it."""

from drivers.gitea import Gitea
from simulators import install


class Forgejo(Gitea):
    """One job a process. It ends with 1 when the server had none."""

    name = "forgejo-runner 12"
    preset = "forgejo"
    slots = (1,)
    drains = "single-job"
    cancels = True
    exit_status = 1
    # It waits for no drain: it had a job just now, or was not ready yet.
    further_exits = ("exit status 0", "signal 15")

    def command(self):
        path = self.bed.dir / "bin" / "forgejo-runner"
        install.program("gitea", path)
        return [path, "one-job", "--config", self.config]
