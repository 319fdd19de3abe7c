"""What `clockout poll` reads of a real Buildbot master, whose workers come and go."""

import json
import re

import pytest

from bed import Bed
from drivers.buildbot import Untold

# Of an explanation: "want 3 = ceil((2 waiting + 1 running) / 1 slot) + 0 headroom".
JOBS = re.compile(r"\((\d+) waiting \+ (\d+) running\)")
# As many instances as there can be: nothing is missing, whatever waits.
SUPPLY = ["echo", json.dumps({"alive": 0, "desired": 0, "max": 0})]


@pytest.fixture
def bed(request):
    bed = Bed()
    request.node.bed = bed
    bed.driver = Untold(bed, 1)
    bed.driver.www_port = bed.port()
    try:
        bed.driver.setup()
        yield bed
    finally:
        bed.end()


def demand(bed, builders):
    """What `--explain` says of the builders' group: jobs that wait, and that run."""
    config = bed.dir / "poll.toml"
    config.write_text(f"""
        [[group]]
        name = "workers"
        source = {{ kind = "buildbot", url = "http://127.0.0.1:{bed.driver.www_port}",
                    builders = {json.dumps(builders)} }}
        target = {{ kind = "exec", supply = {json.dumps(SUPPLY)}, launch = ["false"] }}
    """)
    said = bed.ask("poll", "--config", str(config), "--explain", "workers")
    jobs = JOBS.search(said.stdout)
    return tuple(map(int, jobs.groups())) if jobs else said.stdout + said.stderr


def wait_demand(bed, builders, expected):
    bed.wait(f"{expected} waiting and running for {builders}",
             lambda: demand(bed, builders) == expected)


def test_requests_wait_for_a_worker_and_builds_run(bed):
    # Job 1 is for builder-1, job 2 for builder-2, job 3 for builder-0.
    jobs = [bed.offer() for _ in range(3)]
    all_builders = ["builder-0", "builder-1", "builder-2"]
    wait_demand(bed, all_builders, (3, 0))
    assert demand(bed, ["builder-1"]) == (1, 0)
    bed.start(bed.driver)
    bed.wait_event("agent.ready")
    # The worker has one slot.
    wait_demand(bed, all_builders, (2, 1))
    for job in jobs:
        bed.release(job)
    wait_demand(bed, all_builders, (0, 0))
    assert sorted(bed.ids("end")) == ["1", "2", "3"]


def test_a_builder_that_is_not_there_is_unknown_not_empty(bed):
    wait_demand(bed, ["builder-0"], (0, 0))
    assert "no builder is called builder-7" in demand(bed, ["builder-0", "builder-7"])


def test_a_master_that_is_down_is_unknown_not_empty(bed):
    wait_demand(bed, ["builder-0"], (0, 0))
    bed.driver.master.stop()
    said = demand(bed, ["builder-0"])
    assert isinstance(said, str) and "127.0.0.1" in said
