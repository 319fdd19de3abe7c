"""An agent in a container: `clockout run -- docker run ... AGENT`, with real engines.

The agent is the real drone-runner-exec. Its jobs run in its container, which is on the machine's
network and has the test's directory mounted.
"""

import os
import signal
import warnings

import pytest

from bed import Bed
from drivers.drone_exec import DroneExec
from engines import CannotRun, Docker, Podman
from test_agents import drained, running, start, tally


# The agent's status, which `--retire exit` passes on.
KILLED = 128 + signal.SIGKILL


@pytest.fixture(scope="module", params=[Docker, Podman], ids=["docker", "podman"])
def engine(request):
    try:
        engine = request.param()
    except CannotRun as why:
        # Loud: it is in the summary, and nobody takes it for a success.
        warnings.warn(f"skipped: no container engine: {why}")
        pytest.skip(f"no container engine: {why}")
    yield engine
    engine.end()


class Containered(DroneExec):
    """The same runner, in a container."""

    engine = None
    run_options = ["--rm"]

    def command(self):
        program, *arguments = super().command()
        inside = [word for name, value in super().env().items() for word in ("-e", f"{name}={value}")]
        here = [f"{path}:{path}" for path in (self.bed.dir, os.path.dirname(program))]
        volumes = [word for volume in here for word in ("--volume", volume)]
        return [self.engine.client, "run", *self.run_options, *self.engine.options(), *volumes,
                *inside, self.engine.image, program, *arguments]

    def env(self):
        return self.engine.env


@pytest.fixture
def bed(engine, request):
    bed = Bed()
    request.node.bed = bed
    bed.driver = Containered(bed, 1)
    bed.driver.engine = engine
    try:
        bed.driver.setup()
        yield bed
    finally:
        engine.remove_containers()
        bed.end()


def test_jobs_in_a_container_are_seen_and_a_drain_lets_them_finish(bed):
    start(bed)
    done = bed.offer(exit_code=1, released=True)
    bed.wait_event("job.finished", id=done.id)
    job = bed.offer()
    running(bed, [job])
    waiting = bed.offer()
    bed.drain()
    bed.release(job)
    assert drained(bed) == tally(bed, passed=1, failed=1)
    assert sorted(bed.ids("end")) == [done.id, job.id]
    assert waiting.id not in bed.ids("start")
    assert bed.events("agent.exited")[-1].exit == f"exit status {bed.driver.exit_status}"
    assert bed.driver.engine.all() == []


def test_an_idle_container_is_drained_at_once(bed):
    start(bed)
    bed.drain()
    assert drained(bed) == tally(bed)
    assert bed.driver.engine.all() == []


def test_the_second_signal_cancels_the_job_in_the_container(bed):
    start(bed)
    job = bed.offer()
    running(bed, [job])
    bed.cancel()
    assert bed.wait_exit() == KILLED
    bed.wait_gone(job)
    assert bed.ids("end") == []
    assert bed.record()["jobs"]["canceled"] == 1
    assert bed.driver.engine.all() == []


def test_a_killed_client_loses_its_job_and_its_container(bed):
    """The engine lets a container live whose client is gone: two agents would work."""
    start(bed)
    job = bed.offer()
    running(bed, [job])
    assert len(bed.driver.engine.running()) == 1
    bed.kill_agent()
    bed.wait_event("job.finished", outcome="lost")
    assert bed.wait_exit() == KILLED
    bed.wait_gone(job)
    assert bed.ids("end") == []
    assert bed.record()["jobs"]["lost"] == 1
    assert bed.driver.engine.all() == []


def test_a_kill_ends_the_container_too(bed):
    start(bed)
    job = bed.offer()
    running(bed, [job])
    bed.process.send_signal(signal.SIGQUIT)
    assert bed.wait_exit() == KILLED
    bed.wait_gone(job)
    assert bed.driver.engine.all() == []


def test_a_container_in_the_background_is_refused(bed):
    for option in ("--detach", "-dt", "--tty", "--sig-proxy=false"):
        bed.driver.run_options = ["--rm", option]
        bed.start(bed.driver)
        assert bed.wait_exit() == 2, option
        assert bed.driver.engine.all() == []
