"""What only Jenkins has: the controller knows the builds, and must be asked and told."""

import pytest

from bed import Bed
from drivers.jenkins import Jenkins
from servers.jenkins import TOKEN
from test_agents import drained, is_idle, running, start, tally


@pytest.fixture
def bed(request):
    bed = Bed()
    request.node.bed = bed
    bed.driver = Jenkins(bed, 1)
    try:
        bed.driver.setup()
        yield bed
    finally:
        bed.end()


def cordons(bed):
    return [path for method, path in bed.driver.server.asked if method == "POST"]


def test_between_two_steps_of_a_simulated_pipeline_the_agent_is_not_idle(bed):
    start(bed)
    pause = bed.dir / "approved"
    job = bed.job()
    bed.driver.server.offer(job, "durable", pause, "freestyle")
    running(bed, [job])
    bed.release(job)
    bed.wait_truth("end", job)
    bed.wait_gone(job)
    asked = len(bed.driver.server.asked)
    bed.wait("three further looks", lambda: len(bed.driver.server.asked) >= asked + 3)
    assert bed.status()["state"] == "busy"
    bed.drain()
    pause.touch()
    assert drained(bed) == tally(bed, passed=1)
    assert bed.ids("end") == [job.id] * 2
    assert bed.driver.heard() == [(job.id, "started"), (job.id, "passed")]


def test_a_simulated_cordon_whose_answer_is_lost_is_made_again_and_stays(bed):
    start(bed)
    bed.wait_status("an idle agent", is_idle)
    bed.driver.server.lost_answers = 1
    bed.drain()
    assert drained(bed) == tally(bed)
    assert cordons(bed) == ["changeOfflineCause"] * 2
    assert bed.driver.server.offline


def test_a_build_that_comes_before_the_simulated_cordon_finishes(bed):
    start(bed)
    job = bed.offer()
    running(bed, [job])
    bed.drain()
    bed.release(job)
    assert drained(bed) == tally(bed, passed=1)
    assert bed.driver.heard()[-1] == (job.id, "passed")
    assert cordons(bed) == ["changeOfflineCause"]


@pytest.mark.parametrize("name", ["NODE", "USER", "TOKEN"])
def test_without_the_controller_nothing_is_started(bed, name):
    environment = bed.driver.env()
    del environment[f"CLOCKOUT_JENKINS_{name}"]
    bed.driver.env = lambda: environment
    bed.start(bed.driver)
    assert bed.wait_exit() == 2
    said = bed.output().decode()
    assert f"preset jenkins: set CLOCKOUT_JENKINS_{name} " in said
    assert len(said.splitlines()) == 1


def test_the_token_is_kept_from_the_agent_and_the_log(bed):
    start(bed)
    pid = int(bed.events("agent.started")[-1].pid)
    with open(f"/proc/{pid}/environ") as environment:
        assert "JENKINS_" not in environment.read()
    bed.drain()
    bed.wait_exit()
    assert TOKEN not in bed.output().decode()
