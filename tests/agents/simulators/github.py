"""Runner.Listener and Runner.Worker of actions/runner 2.336, by the name it is started under.

Lines: JobDispatcher.cs and Runner.cs. Not localised. The names of jobs are the authors' own.
"""

import os
import sys

import dotnet
from dotnet import stamp

VERSION = "2.336.0"


class Lines:
    def listening(self):
        return f"Current runner version: '{VERSION}'", f"{stamp()}: Listening for Jobs"

    def running(self, name):
        return f"{stamp()}: Running job: {name}"

    def completed(self, name, result):
        return f"{stamp()}: Job {name} completed with result: {result}"

    def exiting(self):
        return "Exiting..."

    def removed(self):
        # Coloured, as Terminal.WriteError does.
        return "\x1b[31mThe runner no longer exists on the server. " \
               "Cleaning up local configuration.\x1b[0m"


def main():
    program = os.path.basename(sys.argv[0])
    if program == "Runner.Worker":
        hooks = "ACTIONS_RUNNER_HOOK_JOB_STARTED", "ACTIONS_RUNNER_HOOK_JOB_COMPLETED"
        return dotnet.work([os.environ.get(hook) for hook in hooks])
    settings = dotnet.settings(sys.argv[0])
    if settings.get("used"):
        print("\x1b[31mRunner is not configured.\x1b[0m", file=sys.stderr)
        return 1
    if "remove" in sys.argv:
        return remove(settings)
    dotnet.say("", "\u221a Connected to GitHub", "")
    # Set by `config.sh --ephemeral`: it is good for one job, whatever it is told.
    ephemeral = settings.get("ephemeral", False)
    if "--once" in sys.argv:
        dotnet.say("\x1b[33mWarning: '--once' is going to be deprecated in the future, please "
                   "consider using '--ephemeral' during runner registration.\x1b[0m")
    worker = os.path.join(os.path.dirname(sys.argv[0]), "Runner.Worker")
    once = ephemeral or "--once" in sys.argv
    listener = dotnet.Listener(settings["server"], worker, Lines(), once)
    status = listener.run()
    if ephemeral and listener.had_job:
        dotnet.forget(sys.argv[0])
    return status


def remove(settings):
    """`config.sh remove --token T`: the server refuses it while the runner has a job."""
    token = sys.argv[sys.argv.index("--token") + 1]
    dotnet.say("", "# Runner removal", "")
    status, _ = dotnet.Call(settings["server"])("/remove")
    if token != settings["remove_token"] or status != 200:
        print("\x1b[31mFailed: Removing runner from the server\x1b[0m", file=sys.stderr)
        return 1
    dotnet.say("", "\u221a Runner removed successfully", "")
    return 0
