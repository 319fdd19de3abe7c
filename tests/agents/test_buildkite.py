"""What only the Buildkite agent does."""

import pytest

from bed import Bed
from drivers import buildkite


@pytest.fixture
def bed(request):
    """With the agent that logs text, or another that the test names."""
    bed = request.node.bed = Bed()
    bed.driver = getattr(request, "param", buildkite.Text)(bed, 1)
    try:
        yield bed
    finally:
        bed.end()


def start(bed):
    bed.start(bed.driver)
    bed.wait_event("agent.ready")


def test_a_job_that_may_not_be_accepted_is_none(bed):
    bed.driver.setup()
    start(bed)
    refused = bed.job(released=True)
    bed.driver.server.refuse(refused)
    job = bed.offer(released=True)
    bed.wait_event("job.finished")
    bed.drain()
    assert bed.wait_exit() == 0
    assert bed.ids("start") == [job.id]
    assert bed.record()["jobs"]["started"] == 1


def test_a_job_that_could_not_be_started_ends(bed):
    """The agent logs that it starts it, and nothing more; status.json tells of its end."""
    bed.driver.setup()
    start(bed)
    job = bed.job(released=True)
    bed.driver.server.fail_to_start(job)
    bed.wait_event("job.finished", id=bed.driver.log_id(job))
    bed.wait_status("an idle agent", lambda status: status["state"] == "idle")
    assert bed.truth() == []


def test_a_health_address_of_the_configuration_file_is_kept(bed):
    bed.driver.setup()
    port = bed.port()
    with open(bed.driver.config, "a") as config:
        config.write(f'health-check-addr="127.0.0.1:{port}"\n')
    start(bed)
    bed.wait("the agent's page", lambda: f"127.0.0.1:{port}" in bed.output().decode())
    job = bed.job(released=True)
    bed.driver.server.fail_to_start(job)
    # It is seen there too.
    bed.wait_event("job.finished", id=bed.driver.log_id(job))


@pytest.mark.parametrize("bed", [buildkite.Json], indirect=True)
def test_what_a_job_writes_alone_in_a_line_of_json_is_not_the_agents(bed):
    """The agent makes a line of what it reads at once: here, in the end, of its own words."""
    heard = bed.dir / "heard"
    failed = "Process with PID: 1 finished with Exit Status: 1, Signal: nil"
    bed.driver.hooks = {"pre-command": f"""
        while ! [ -e {heard} ]; do
            printf "%s" "{failed}"; sleep 0.2
            printf "%s" "Finished job $BUILDKITE_JOB_ID"; sleep 0.2
        done
    """}
    bed.driver.setup()
    start(bed)
    job = bed.offer()
    for words in (failed, f"Finished job {bed.driver.log_id(job)}"):
        bed.wait("the job's words", lambda: f'"msg":"{words}"'.encode() in bed.output())
    heard.touch()
    bed.wait_truth("start", job)
    assert not bed.events("job.finished")
    bed.release(job)
    assert bed.wait_event("job.finished").outcome == "passed"
