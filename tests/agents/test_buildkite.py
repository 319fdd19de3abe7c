"""What only the Buildkite agent does."""

import pytest

from bed import Bed
from drivers import buildkite


@pytest.fixture
def bed():
    bed = Bed()
    bed.driver = buildkite.Text(bed, 1)
    try:
        bed.driver.setup()
        yield bed
    finally:
        bed.end()


@pytest.fixture(autouse=True)
def failed_logs(request, bed):
    request.node.bed = bed


def test_a_job_that_may_not_be_accepted_is_none(bed):
    bed.start(bed.driver)
    bed.wait_event("agent.ready")
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
    bed.start(bed.driver)
    bed.wait_event("agent.ready")
    job = bed.job(released=True)
    bed.driver.server.fail_to_start(job)
    bed.wait_event("job.finished", id=bed.driver.log_id(job))
    bed.wait_status("an idle agent", lambda status: status["state"] == "idle")
    assert bed.truth() == []


def test_a_health_address_of_the_configuration_file_is_kept(bed):
    port = bed.port()
    with open(bed.driver.config, "a") as config:
        config.write(f'health-check-addr="127.0.0.1:{port}"\n')
    bed.start(bed.driver)
    bed.wait_event("agent.ready")
    bed.wait("the agent's page", lambda: f"127.0.0.1:{port}" in bed.output().decode())
    job = bed.job(released=True)
    bed.driver.server.fail_to_start(job)
    # It is seen there too.
    bed.wait_event("job.finished", id=bed.driver.log_id(job))
