"""What only CircleCI has: its file may say already how tasks are started."""

import json

import pytest

from bed import Bed
from drivers.circleci import Circleci
from test_agents import drained, running, start, tally


@pytest.fixture
def bed(request):
    bed = request.node.bed = Bed()
    bed.driver = Circleci(bed, 1)
    try:
        bed.driver.setup()
        yield bed
    finally:
        bed.end()


def prefix(bed, *words):
    """As `runner.command_prefix` of the runner's file."""
    config = bed.driver.config.read_text()
    bed.driver.config.write_text(f"{config}  command_prefix: {json.dumps(words)}\n")


def test_the_simulated_runners_own_prefix_is_kept_and_its_task_keeps_the_machine(bed):
    seen = bed.dir / "seen"
    prefix(bed, "sh", "-c", f'echo mine > {seen}; exec "$@"', "prefix")
    bed.start(bed.driver, idle_timeout="2s")
    job = bed.offer()
    bed.wait_truth("start", job)
    bed.wait_status("a busy agent", lambda status: status["state"] == "busy")
    assert seen.read_text() == "mine\n"
    bed.release(job)
    assert drained(bed) == tally(bed)
    assert bed.ids("end") == [job.id]
    assert bed.driver.heard()[-1] == (job.id, "passed")


def test_clockout_before_the_simulated_runners_own_prefix_counts_its_tasks(bed):
    seen = bed.dir / "seen"
    prefix(bed, bed.clockout, "job", "exec", "--",
           "sh", "-c", f'echo mine > {seen}; exec "$@"', "prefix")
    start(bed)
    job = bed.offer(exit_code=1)
    running(bed, [job])
    bed.drain()
    bed.release(job)
    assert drained(bed) == tally(bed, failed=1)
    assert seen.read_text() == "mine\n"
