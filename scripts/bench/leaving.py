"""How long the group waits, once the agent has ended, for the first word about it."""

import os
import signal
import struct

FIRST_CALL = "DetachInstances"


def first_calls(lab, supervisor, env, aws, times):
    """Microseconds from the agent's end to the arrival of the first Auto Scaling call that means
    it, in each of many runs. The drain and the ladder begin at the same time here, so nothing
    could be made ready while jobs ended."""
    return [first_call(lab, supervisor, env, aws) for _ in range(times)]


def first_call(lab, supervisor, env, aws):
    aws.calls.clear()
    fifo = lab.path("fifo")
    os.mkfifo(fifo)
    agent = [lab.probe, "hear", str(signal.SIGINT.value), fifo]
    run = lab.start(supervisor.wrap(agent, "--retire", "detach"), **env)
    try:
        with open(fifo, "rb") as told:
            told.read(8)
            run.wait_log("instance.known")
            os.kill(run.pid, signal.SIGTERM)
            # The agent ends as soon as it has told this.
            (ended,) = struct.unpack("q", told.read(8))
        aws.wait_for({FIRST_CALL})
        return (aws.calls[FIRST_CALL] - ended) / 1e3
    finally:
        run.end()
