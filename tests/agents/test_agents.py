"""What clockout promises, with every agent: the columns of the table are these tests."""

import signal
import time

# Jobs of `count`; each fourth fails.
MANY = 20
# Longer than anything keeps of a line.
LONG_LINE = b"x" * 10_000_000
NOISE = [
    b"\x1b[31mred\x1b[0m \x1b[2K\x1b[1A\x1b]0;title\x07",
    bytes(range(256)),
    b"\xff\xfe\x00\x00\r\r\r",
    LONG_LINE,
]


def start(bed, **options):
    bed.start(bed.driver, **options)
    bed.wait_event("agent.ready")


def running(bed, jobs):
    """Until these jobs run, and clockout knows it."""
    for job in jobs:
        bed.wait_truth("start", job)
    bed.wait_status(f"{len(jobs)} running jobs",
                    lambda status: status["jobs"]["running"] == len(jobs))
    # Where it looks once a second, a status may show a job that is not counted yet.
    started = len(bed.ids("start"))
    bed.wait(f"{started} started jobs", lambda: len(bed.events("job.started")) >= started)


def is_idle(status):
    return status["state"] in ("idle", "starting") and status["jobs"]["running"] == 0


def drained(bed):
    """Until it has ended as planned; returns the record's jobs."""
    assert bed.wait_exit() == 0
    jobs = bed.record()["jobs"]
    assert jobs["started"] == len(bed.events("job.started")) == len(bed.events("job.finished"))
    assert jobs["lost"] == jobs["canceled"] == 0
    return jobs


def tally(bed, passed=0, failed=0):
    """A record's jobs, as this agent can show them."""
    done = {"passed": passed, "failed": failed, "unknown": 0}
    if not bed.driver.outcomes:
        done = {"passed": 0, "failed": 0, "unknown": passed + failed}
    return {"started": passed + failed, "canceled": 0, "lost": 0, **done}


def test_ready(bed):
    chosen = bed.ask("preset", "explain", "--", *map(str, bed.driver.command()))
    start(bed)
    bed.wait_status("an idle agent", is_idle)
    assert bed.truth() == []
    assert chosen.stdout.split()[:2] == ["preset", bed.driver.preset], chosen


def test_count(bed):
    start(bed)
    held = [bed.offer() for _ in range(bed.driver.slots)]
    # All slots are used at the same time.
    running(bed, held)
    rest = [bed.offer(exit_code=int(n % 4 == 0), released=True) for n in range(len(held), MANY)]
    for job in held:
        bed.release(job)
    jobs = held + rest
    bed.wait_event("job.finished", count=MANY)
    for job in jobs:
        bed.wait_heard(job.outcome, job)
    bed.wait_status("no running job", is_idle)
    bed.drain()
    failed = sum(job.exit_code for job in jobs)
    assert drained(bed) == tally(bed, MANY - failed, failed)
    expected = sorted(job.id for job in jobs)
    assert sorted(bed.ids("start")) == sorted(bed.ids("end")) == expected
    heard = [id for id, word in bed.driver.heard() if word != "started"]
    assert sorted(heard) == expected
    ids = [bed.driver.log_id(job) for job in jobs]
    if None not in ids:
        for event in ("job.started", "job.finished"):
            assert sorted(line.id for line in bed.events(event)) == sorted(ids)


def test_transitions(bed, measured):
    start(bed)
    bed.wait_status("an idle agent", is_idle)
    job = bed.offer()
    bed.wait_truth("start", job)
    started = time.monotonic()
    bed.wait_status("a busy agent", lambda status: status["state"] == "busy")
    busy = time.monotonic() - started
    bed.release(job)
    bed.wait_truth("end", job)
    ended = time.monotonic()
    bed.wait_status("an idle agent", is_idle)
    idle = time.monotonic() - ended
    measured(f"{busy:.1f} {idle:.1f}")


def test_drain_busy(bed, measured):
    start(bed)
    jobs = [bed.offer() for _ in range(bed.driver.slots)]
    running(bed, jobs)
    # An agent that no signal drains takes what waits for it, and must be left to finish that.
    racy = bed.driver.drains == "wait-idle"
    waiting = bed.offer(released=racy)
    bed.drain()
    for job in jobs:
        bed.release(job)
    further = [waiting] if racy else []
    assert drained(bed) == tally(bed, passed=len(bed.ids("start")))
    assert set(bed.ids("end")) == set(bed.ids("start"))
    assert {job.id for job in jobs} <= set(bed.ids("end")) <= {job.id for job in jobs + further}
    for job in jobs:
        bed.wait_heard("passed", job)
    if waiting.id in bed.ids("start"):
        measured("ok, 1 more")
    else:
        assert waiting.id not in [id for id, _ in bed.driver.heard()]


def test_drain_idle(bed, measured):
    start(bed)
    bed.wait_status("an idle agent", is_idle)
    bed.drain()
    asked = time.monotonic()
    assert drained(bed) == tally(bed)
    measured(f"{time.monotonic() - asked:.1f}")
    assert bed.truth() == []


def test_cancel(bed):
    start(bed)
    job = bed.offer()
    running(bed, [job])
    bed.cancel()
    # The agent's own: nothing else is to be ended here (`--retire exit`).
    bed.wait_exit()
    bed.wait_gone(job)
    assert bed.ids("end") == []
    jobs = bed.record()["jobs"]
    assert (jobs["started"], jobs["passed"], jobs["lost"]) == (1, 0, 0)
    if bed.driver.cancels:
        assert {(job.id, "canceled"), (job.id, "failed")} & set(bed.driver.heard())


def test_lost(bed):
    start(bed)
    job = bed.offer()
    running(bed, [job])
    bed.kill_agent()
    bed.wait_event("job.finished", outcome="lost")
    assert bed.wait_exit() == 128 + signal.SIGKILL
    bed.wait_gone(job)
    assert bed.ids("end") == []
    jobs = bed.record()["jobs"]
    assert (jobs["lost"], jobs["passed"], jobs["failed"]) == (1, 0, 0)


def test_max_jobs(bed, measured):
    allowed = 3 + bed.driver.slots
    bed.start(bed.driver, max_jobs=allowed)
    offered = [bed.offer() for _ in range(allowed + 2 * bed.driver.slots)]

    def end_what_is_known():
        """A job is longer than it takes to see that it began, and to send a signal."""
        known = len(bed.events("job.started"))
        for job in offered:
            if job.id in bed.ids("start")[:known]:
                bed.release(job)
        return bed.has_ended()

    bed.wait("the end", end_what_is_known)
    jobs = drained(bed)
    started = bed.ids("start")
    assert sorted(bed.ids("end")) == sorted(started)
    assert jobs["started"] == len(started) == len(set(started))
    # See test_drain_busy: the one that no signal drains is stopped as soon as it can be.
    if bed.driver.drains != "wait-idle":
        assert len(started) <= allowed
    if bed.driver.slots == 1:
        assert len(started) >= allowed
    measured(f"{len(started)} of {allowed}")


def test_spoof(bed):
    start(bed)
    lies = [line.encode() for line in bed.driver.fake_lines()]
    sentinel = f"sentinel {bed.dir}".encode()
    noise = NOISE if bed.driver.prints_bytes else [line for line in NOISE if line.isascii()]
    job = bed.offer(prints=b"\n".join([*lies, *noise, *lies, sentinel, b""]))
    running(bed, [job])
    bed.wait_truth("printed", job)
    if bed.driver.mixes_output:
        bed.wait("the job's output", lambda: sentinel in bed.output())
    released = time.time()
    bed.release(job)
    bed.wait_event("job.finished")
    after = bed.offer(released=True)
    bed.wait_event("job.finished", count=2)
    bed.drain()
    assert drained(bed) == tally(bed, passed=2)
    assert sorted(bed.ids("end")) == sorted([job.id, after.id])
    assert all(event.time >= released for event in bed.events("job.finished"))


def test_exit(bed):
    start(bed)
    job = bed.offer(released=True)
    bed.wait_event("job.finished")
    bed.wait_heard("passed", job)
    if bed.driver.drains == "single-job":
        # The next process, as the first one is just ending by itself.
        bed.wait_event("agent.ready", count=2)
    bed.wait_status("an idle agent", is_idle)
    bed.driver.settle()
    bed.drain()
    assert drained(bed) == tally(bed, passed=1)
    last = bed.events("agent.exited")[-1]
    assert last.exit in (f"exit status {bed.driver.exit_status}", *bed.driver.further_exits)
    assert last.level == "INFO", f"{last} was not expected"
