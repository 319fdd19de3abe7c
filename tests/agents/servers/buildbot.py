"""A real Buildbot master in a process of its own."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

PR_SET_PDEATHSIG = 1
TAC = """\
import os
from buildbot.master import BuildMaster
from twisted.application import service
application = service.Application("buildmaster")
BuildMaster(os.getcwd(), "master.cfg").setServiceParent(application)
"""


class BuildbotMaster:
    """Works in `directory`; `venv` is where tests/agents/buildbot-setup.sh installed it.

    `told_by`: the program whose `job finish` each build runs last, or nothing. `www_port`: where
    its REST API is, if anywhere.
    """

    def __init__(self, directory, venv, port, slots, told_by="", www_port=None):
        self.directory = directory
        self.heard_file = directory / "heard"
        self.spool = directory / "spool"
        self.log = directory / "master.log"
        self.spool.mkdir(parents=True)
        self.heard_file.touch()
        shutil.copy(venv / "master" / "state.sqlite", directory)
        shutil.copy(Path(__file__).with_name("buildbot.cfg"), directory / "master.cfg")
        (directory / "master.tac").write_text(TAC)
        environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "LANG": "C.UTF-8",
                       "SPOOL": str(self.spool), "HEARD": str(self.heard_file),
                       "PORT": str(port), "SLOTS": str(slots), "TOLD_BY": told_by}
        if www_port:
            environment["WWW_PORT"] = str(www_port)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [venv / "bin" / "twistd", "--nodaemon", "--no_save", "--pidfile=", "--logfile=-",
                 "--python=master.tac"],
                cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=die_with_parent)

    def is_running(self):
        assert self.process.poll() is None, self.log.read_text()
        return b"BuildMaster is running" in self.log.read_bytes()

    def offer(self, job):
        hidden = self.spool / f"{job.id}.new"
        hidden.write_text(json.dumps({"id": job.id, "script": job.script}))
        hidden.rename(hidden.with_suffix(".json"))

    def heard(self):
        # A half-written last line is not there yet.
        lines = self.heard_file.read_text().split("\n")[:-1]
        return [tuple(line.split(" ", 1)) for line in lines]

    def stop(self):
        self.process.kill()
        self.process.wait()


def die_with_parent():
    """However that ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
