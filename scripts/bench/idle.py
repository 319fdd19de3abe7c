"""What a supervisor costs while nothing happens."""

import os
import signal
import time
from pathlib import Path

WARMING = {"DescribeAutoScalingInstances", "DescribeInstanceStatus"}


def resting(lab, commands, seconds):
    """Runs all of `commands`, by name, at once and leaves them alone. By name: wake-ups a minute,
    and what is resident at the end in KiB. A command is an argument list and its environment."""
    runs = {name: lab.start(command, **env) for name, (command, env) in commands.items()}
    # What they do after starting is no idleness. The count of it, not its time, is what matters.
    time.sleep(5)
    before = {name: wakeups(run.pid) for name, run in runs.items()}
    time.sleep(seconds)
    found = {}
    for name, run in runs.items():
        woken = wakeups(run.pid) - before[name]
        found[name] = woken * 60 / seconds, resident_kib(run.pid)
        run.end()
    return found


def warmed_kib(lab, supervisor, aws, env):
    """KiB resident of a supervisor that drains a long job, after a call by each AWS client."""
    aws.calls.clear()
    agent = [lab.probe, "work"]
    run = lab.start(supervisor.wrap(agent, "--retire", "detach"), **env)
    run.wait_log("instance.known")
    os.kill(run.pid, signal.SIGTERM)
    aws.wait_for(WARMING)
    # For the answers to be read.
    time.sleep(1)
    found = resident_kib(run.pid)
    run.end()
    return found


def resident_kib(pid):
    return status(pid, "status", "VmRSS")


def wakeups(pid):
    """How often its threads have gone to sleep, each time to be woken."""
    threads = os.listdir(f"/proc/{pid}/task")
    key = "voluntary_ctxt_switches"
    return sum(status(pid, f"task/{thread}/status", key) for thread in threads)


def status(pid, file, key):
    """A number of `/proc/PID/status`."""
    for line in Path("/proc", str(pid), file).read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0])
    raise KeyError(key)
