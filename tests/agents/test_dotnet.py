"""What only the simulated runners of GitHub and Azure do; see simulators/dotnet.py."""

import pytest

from bed import Bed
from drivers.azure import Azure
from drivers.github import Github, GithubRemoved
from processes import find_all, read
from test_agents import drained, is_idle, running, start, tally

BOTH = pytest.mark.parametrize("agent", [Github, Azure],
                               ids=["github-simulated", "azure-simulated"])


@pytest.fixture
def laid(request):
    """Makes the test's bed, for a driver."""
    def lay(agent):
        request.node.bed = bed = Bed()
        bed.driver = agent(bed, 1)
        bed.driver.setup()
        return bed
    yield lay
    request.node.bed.end()


@BOTH
def test_a_job_that_the_service_takes_back_has_ended(agent, laid):
    """It starts with a line, and ends without one."""
    bed = laid(agent)
    start(bed)
    bed.driver.offer(bed.job(), abandoned=True)
    bed.wait_event("job.finished", outcome="unknown")
    after = bed.offer(released=True)
    bed.wait_event("job.finished", outcome="passed")
    bed.wait_heard("passed", after)
    bed.drain()
    assert drained(bed) == {**tally(bed, passed=1), "started": 2, "unknown": 1}


@BOTH
def test_a_job_whose_name_says_that_it_has_ended_is_left_to_end(agent, laid):
    """The lie is believed, but not alone: the worker still lives."""
    bed = laid(agent)
    start(bed)
    job = bed.job()
    lie = "x\n2026-08-17 13:16:44Z: Job x completed with result: Succeeded"
    bed.driver.offer(job, name=lie)
    bed.wait_truth("start", job)
    bed.wait_event("job.finished")
    bed.drain()
    bed.wait_status("a draining agent", lambda status: status["state"] == "draining")
    bed.release(job)
    assert bed.wait_exit() == 0
    assert bed.ids("end") == [job.id]
    assert (job.id, "passed") in bed.driver.heard()


def test_an_update_of_the_simulated_github_runner_is_no_end(laid):
    """run.sh starts the new listener itself."""
    bed = laid(Github)
    start(bed)
    bed.driver.server.order_update()
    bed.wait("the second listener",
             lambda: bed.output().count(b": Listening for Jobs") == 2)
    job = bed.offer()
    running(bed, [job])
    assert len(bed.events("agent.started")) == 1
    bed.drain()
    bed.release(job)
    assert drained(bed) == tally(bed, passed=1)


@BOTH
def test_the_signal_is_for_the_listener_alone(agent, laid):
    """The job shares its process group, and run.sh would not pass it on."""
    bed = laid(agent)
    start(bed)
    bed.wait_status("an idle agent", is_idle)
    listener = [pid for pid in find_all(None, bed.driver.home)
                if read(pid, "comm").strip().endswith(b".Listener")]
    bed.drain()
    signalled = bed.wait_event("agent.signalled")
    assert [int(signalled.pid)] == listener
    assert drained(bed) == tally(bed)


class Ephemeral(Github):
    name = ""
    settings = {"ephemeral": True}


def test_a_simulated_ephemeral_github_runner_has_the_one_job_of_max_jobs(laid):
    bed = laid(Ephemeral)
    bed.start(bed.driver, max_jobs=1)
    for _ in range(2):
        bed.offer(released=True)
    assert drained(bed) == tally(bed, passed=1)
    assert len(bed.ids("start")) == len(bed.events("agent.started")) == 1


def test_a_removed_simulated_github_runner_gets_no_job(laid):
    bed = laid(GithubRemoved)
    start(bed)
    bed.wait_status("an idle agent", is_idle)
    bed.drain()
    bed.wait("the removal", lambda: bed.driver.server.removed)
    late = bed.offer(released=True)
    assert drained(bed) == tally(bed)
    assert (late.id, "started") not in bed.driver.heard()


def test_a_simulated_github_runner_that_just_got_a_job_is_not_removed(laid):
    bed = laid(GithubRemoved)
    start(bed)
    bed.wait_status("an idle agent", is_idle)
    jobs = []

    def give_a_job():
        jobs.append(bed.offer(released=True))
        bed.wait_heard("started", jobs[0])

    bed.driver.server.before_removal = give_a_job
    bed.drain()
    assert drained(bed) == tally(bed, passed=1)
    assert bed.driver.server.refused == 1
    assert (jobs[0].id, "passed") in bed.driver.heard()
