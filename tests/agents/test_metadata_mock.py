"""What AWS's own mock of the metadata service announces, clockout understands."""

import sys

import pytest

from bed import Bed
from driver import Driver
from metadata_mock import MetadataMock, in_seconds

SPOT = ("terminate", "stop", "hibernate")
# With whether they are the machine's end, so that nothing is worth waiting for.
CODES = {
    "instance-stop": True,
    "instance-retirement": True,
    "instance-reboot": False,
    "system-reboot": False,
    "system-maintenance": False,
}
OVER = ("completed", "canceled")
REBALANCE = ["spot", "--mock-delay-sec", "86400"]
SPOT_PATH = "meta-data/spot/instance-action"
EVENTS_PATH = "meta-data/events/maintenance/scheduled"
# argv: a file that it makes when it can be signalled, and a directory that holds its jobs. Told
# to drain, it ends when that is empty.
AGENT = """
import os, signal, sys, time
draining = []
signal.signal(signal.SIGINT, lambda *_: draining.append(True))
open(sys.argv[1], "w").close()
while not draining or os.listdir(sys.argv[2]):
    time.sleep(0.02)
"""


class Waiting(Driver):
    """An agent that does nothing but wait; it has the jobs that the test says."""

    slots = (2,)

    def __init__(self, bed, slots):
        super().__init__(bed, slots)
        self.mock = MetadataMock(bed)
        self.up = bed.dir / "up"
        self.running = bed.dir / "running"
        self.running.mkdir()

    def command(self):
        return [sys.executable, "-c", AGENT, self.up, self.running]

    def settle(self):
        self.bed.wait("an agent that handles signals", self.up.exists)

    def start_job(self, id):
        """As its hook does."""
        (self.running / id).touch()
        self.tell("start", id)

    def finish_job(self, id):
        self.tell("finish", id)
        (self.running / id).unlink()

    def tell(self, verb, id):
        asked = self.bed.ask("job", verb, id, "--strict")
        assert asked.returncode == 0, asked.stderr

    def env(self):
        return {
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.mock.url,
        }

    def options(self):
        return ["--notice-interval", "200ms", "--rebalance-min-age", "1s"]

    def heard(self):
        return []

    def stop(self):
        self.mock.stop()


@pytest.fixture
def bed(request):
    """With the mock, which has nothing to tell."""
    bed = request.node.bed = Bed()
    bed.driver = Waiting(bed, 2)
    try:
        bed.driver.mock.say_nothing()
        yield bed
    finally:
        bed.end()


def start(bed, **options):
    bed.start(bed.driver, **options)
    bed.wait_status("an idle agent", lambda status: status["state"] == "idle")
    bed.driver.settle()


def retired_for(bed, *reasons):
    assert bed.wait_exit() == 0
    record = bed.record()
    assert record["reason"] in reasons
    assert len(bed.events("drain.began")) <= 1
    assert record["jobs"]["lost"] == 0


@pytest.mark.parametrize("action", SPOT)
def test_a_spot_interruption_drains(bed, action):
    start(bed)
    at = in_seconds(110)
    bed.driver.mock.say("spot", "--action", action, "--time", at)
    retired_for(bed, "spot")
    told = {"kind": "spot", "what": action, "at": at, "acted_on": True}
    assert told in bed.record()["notices"]


@pytest.mark.parametrize("action", SPOT)
def test_an_interruption_that_is_there_from_the_start_is_seen(bed, action):
    bed.driver.mock.say("spot", "--action", action)
    bed.start(bed.driver)
    retired_for(bed, "spot")


def test_a_job_is_cancelled_before_the_time_that_was_told(bed):
    start(bed, cancel_before="60s")
    bed.driver.start_job("long")
    bed.driver.mock.say("spot", "--time", in_seconds(61))
    bed.wait_event("drain.cancelled")
    retired_for(bed, "spot")


def test_a_job_has_the_time_that_is_left(bed):
    """By itself the mock says, whenever it is asked, that two minutes are left."""
    start(bed)
    bed.driver.start_job("short")
    bed.driver.mock.say("spot")
    bed.wait_event("drain.began")
    bed.driver.mock.wait_asked(SPOT_PATH, 3)
    bed.driver.finish_job("short")
    retired_for(bed, "spot")
    assert bed.events("drain.tightened") == bed.events("drain.cancelled") == []


@pytest.mark.parametrize("code", CODES)
def test_active_maintenance_drains_an_idle_agent(bed, code):
    start(bed)
    bed.driver.mock.say("events", "--code", code, "--not-before", in_seconds(3600))
    retired_for(bed, "maintenance")


@pytest.mark.parametrize("code, is_the_end", CODES.items())
def test_maintenance_that_is_not_the_end_waits_for_a_job(bed, code, is_the_end):
    start(bed)
    for id in ("one", "two"):
        bed.driver.start_job(id)
    bed.driver.mock.say("events", "--code", code, "--not-before", in_seconds(3600))
    if is_the_end:
        bed.wait_event("drain.began")
    else:
        bed.wait_event("drain.after_job")
        assert bed.events("drain.began") == []
    for id in ("one", "two"):
        bed.driver.finish_job(id)
    retired_for(bed, "maintenance")


@pytest.mark.parametrize("state", OVER)
@pytest.mark.parametrize("code", CODES)
def test_maintenance_that_is_over_changes_nothing(bed, code, state):
    start(bed)
    bed.driver.mock.say("events", "--code", code, "--state", state)
    # Once more after all that it could have led to.
    bed.driver.mock.wait_asked(EVENTS_PATH, 3)
    assert bed.status()["state"] == "idle"
    bed.drain()
    retired_for(bed, "operator")


def test_a_recommendation_drains_who_follows_them(bed):
    start(bed, on_rebalance="now")
    bed.driver.mock.say(*REBALANCE)
    retired_for(bed, "rebalance")


def test_a_recommendation_is_told_by_who_does_not(bed):
    start(bed, on_rebalance="ignore")
    bed.driver.mock.say(*REBALANCE)
    bed.wait_event("notice.received", kind="rebalance")
    assert bed.status()["state"] == "idle"
    bed.drain()
    retired_for(bed, "operator")
    assert [notice["kind"] for notice in bed.record()["notices"]] == ["rebalance"]


def test_a_group_that_takes_the_machine_out_drains_it(bed):
    start(bed)
    bed.driver.mock.say("asglifecycle", "--asg-termination-delay-sec", "1")
    retired_for(bed, "scale-in")


def test_everything_at_once_is_one_drain(bed):
    """The mock without a command announces all that it knows."""
    start(bed, on_rebalance="now")
    bed.driver.mock.say()
    retired_for(bed, "spot", "rebalance", "maintenance", "scale-in")


def test_a_service_that_would_do_without_tokens_is_understood(bed):
    start(bed)
    bed.driver.mock.say("spot", v1=True)
    retired_for(bed, "spot")
