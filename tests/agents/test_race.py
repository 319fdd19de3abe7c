"""Agents that no signal drains can be given a job in the very moment in which they are drained
while idle. This counts how often that job is lost; a job that was never taken is none."""

import random
import threading

from test_agents import is_idle, start

# In seconds: the job comes within this time before or after the drain is asked for.
AROUND = 0.25


def test_race(new_bed, measured, request):
    drains = request.config.option.races
    cut_off = sum(one_drain(new_bed()) for _ in range(drains))
    measured(f"{cut_off} of {drains}")


def one_drain(bed):
    """1 when the job was taken and cut off."""
    start(bed)
    bed.wait_status("an idle agent", is_idle)
    job = bed.job(released=True)
    moment = random.uniform(-AROUND, AROUND)
    offer = threading.Timer(max(moment, 0), bed.driver.offer, [job])
    drain = threading.Timer(max(-moment, 0), bed.drain)
    for timer in (offer, drain):
        timer.start()
    for timer in (offer, drain):
        timer.join()
    assert bed.wait_exit() == 0
    heard = bed.driver.heard()
    taken = (job.id, "started") in heard or job.id in bed.ids("start")
    return int(taken and (job.id, "passed") not in heard)
