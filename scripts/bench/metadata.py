"""One machine's metadata service, which can be made to announce things and counts who asks."""

import json
import threading
import time
from collections import Counter

from fake_aws import METADATA, Quiet, serve
from lab import PATIENCE

TTL = "21600"
SPOT = "meta-data/spot/instance-action"
# What came before `SPOT`, and what lifecycled reads to this day.
SPOT_TIME = "meta-data/spot/termination-time"
REBALANCE = "meta-data/events/recommendations/rebalance"
MAINTENANCE = "meta-data/events/maintenance/scheduled"
TARGET = "meta-data/autoscaling/target-lifecycle-state"
PATHS = {SPOT, SPOT_TIME, REBALANCE, MAINTENANCE, TARGET}


class Machine:
    """`asked` counts requests by path below /latest/, tokens included."""

    def __init__(self):
        self.values = METADATA | {MAINTENANCE: "[]", TARGET: "InService"}
        self.asked = Counter()
        self.connections = 0
        self.changed = threading.Condition()
        self.server = serve(Metadata)
        self.server.machine = self
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.env = {
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.url,
        }

    def announce(self, notice):
        """From now on one of `NOTICES` is to be seen; the moment, in CLOCK_MONOTONIC nanoseconds."""
        values = self.values | NOTICES[notice]()
        self.values = values
        return time.monotonic_ns()

    def wait_asked(self, path, times):
        """Until a path was asked for so often."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.asked[path] >= times, PATIENCE):
                raise TimeoutError(f"{path} was not asked for {times} times: {self.asked}")

    def count(self, path):
        with self.changed:
            self.asked[path] += 1
            self.changed.notify_all()

    def end(self):
        self.server.shutdown()
        self.server.server_close()


class Metadata(Quiet):
    """Version 2: nothing without a token."""

    def setup(self):
        super().setup()
        self.server.machine.connections += 1

    def do_PUT(self):
        self.asked()
        self.answer(200, "token", X_aws_ec2_metadata_token_ttl_seconds=TTL)

    def do_GET(self):
        value = self.server.machine.values.get(self.asked())
        if self.headers["X-aws-ec2-metadata-token"] != "token":
            self.answer(401, "")
        elif value is None:
            self.answer(404, "")
        else:
            self.answer(200, value, X_aws_ec2_metadata_token_ttl_seconds=TTL)

    def asked(self):
        path = self.path.removeprefix("/latest/")
        self.server.machine.count(path)
        return path


def spot():
    at = rfc3339(120)
    return {SPOT: json.dumps({"action": "terminate", "time": at}), SPOT_TIME: at}


def rebalance():
    return {REBALANCE: json.dumps({"noticeTime": rfc3339(0)})}


def maintenance():
    """EC2 will stop the machine in a quarter of an hour."""
    moment = time.gmtime(time.time() + 900)
    event = {
        "NotBefore": time.strftime("%-d %b %Y %H:%M:%S GMT", moment),
        "Code": "instance-stop",
        "Description": "The instance is running on degraded hardware",
        "EventId": "instance-event-0d59937288b749b32",
        "State": "active",
    }
    return {MAINTENANCE: json.dumps([event])}


def scale_in():
    return {TARGET: "Terminated"}


def rfc3339(seconds):
    """So many seconds from now."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


NOTICES = {
    "spot": spot, "rebalance": rebalance, "maintenance": maintenance, "scale-in": scale_in,
}
# Where each of them is to be seen.
SEEN_AT = {
    "spot": (SPOT, SPOT_TIME), "rebalance": (REBALANCE,), "maintenance": (MAINTENANCE,),
    "scale-in": (TARGET,),
}
