"""AWS's own mock of the instance metadata service, amazon-ec2-metadata-mock.

What it announces is in its command line, and it cannot be told otherwise while it runs: it is
started anew on the same port. To clockout that is a service that is away for a moment and then
knows no token any more.
"""

import os
import subprocess
import urllib.request
from datetime import datetime, timedelta, timezone

from bed import PATIENCE
from driver import installed

LONG = "86400"
# No word of an interruption, a recommendation or an end for a day, and all else as usual.
QUIET = ["--mock-delay-sec", LONG, "--rebalance-delay-sec", LONG,
         "--asg-termination-delay-sec", LONG]


class MetadataMock:
    """`METADATA_MOCK` names another release of it."""

    def __init__(self, bed):
        self.program = os.environ.get("METADATA_MOCK") or installed("ec2-metadata-mock")
        self.bed = bed
        self.log = bed.dir / "metadata-mock.log"
        self.port = bed.port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None
        # Where in the log the words of this process begin.
        self.began = 0

    def say(self, *words, v1=False):
        """What it announces from now on: `spot --action stop`, as on its command line."""
        self.stop()
        # It answers the first two addresses only, unless it is told not to count them.
        usual = ["--hostname", "127.0.0.1", "--port", str(self.port), "--mock-ip-count", "-1"]
        with open(self.log, "ab") as log:
            self.began = log.tell()
            # It would read a configuration in the home directory.
            self.process = subprocess.Popen(
                [self.program, *words, *usual, *([] if v1 else ["--imdsv2"])],
                env={"HOME": str(self.bed.dir / "home")}, cwd=self.bed.dir,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.bed.wait("an answer of the metadata mock", self.answers)

    def say_nothing(self):
        self.say(*QUIET)

    def answers(self):
        token = urllib.request.Request(f"{self.url}/latest/api/token", method="PUT",
                                       headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
        try:
            urllib.request.urlopen(token, timeout=PATIENCE).close()
        except OSError:
            return False
        return True

    def wait_asked(self, path, times):
        """Until this was asked for so often since it was told what to say."""
        request = f"ValidateToken Received request: &{{GET /latest/{path} ".encode()
        asked = lambda: self.log.read_bytes()[self.began:].count(request)
        self.bed.wait(f"{times} requests for {path}", lambda: asked() >= times)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()


def in_seconds(seconds):
    """A time as the mock's options take it."""
    moment = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
