"""How long a supervisor keeps an agent, or a signal, waiting. All times are in microseconds."""

import os
import signal
import statistics
import subprocess

from lab import PATIENCE


def starts(lab, supervisors, agent, rounds):
    """Runs `agent` under each, in turns, so that a busy machine is equally busy for all.

    By name, the median of: from exec to the agent's first instruction (0 when it tells none),
    from exec to the end of both, and processor time of both.
    """
    rows = {name: [] for name in supervisors}
    env = lab.env()
    for _ in range(rounds):
        for name, supervisor in supervisors.items():
            command = [lab.probe, "start", "--", *supervisor.wrap(agent)]
            rows[name].append(numbers(command, env))
    return {name: [statistics.median(column) for column in zip(*row)] for name, row in rows.items()}


def forwarded(lab, supervisor, times):
    """Until the agent hears each of many SIGUSR1."""
    return heard(lab, supervisor, signal.SIGUSR1, signal.SIGUSR1, times)


def stopped(lab, supervisor, as_signal, times):
    """Until the agent hears, as `as_signal`, the SIGTERM that its supervisor gets; one a run."""
    runs = (heard(lab, supervisor, signal.SIGTERM, as_signal, 1) for _ in range(times))
    return [latency for run in runs for latency in run]


def heard(lab, supervisor, sent, as_signal, times):
    fifo = lab.path("fifo")
    os.mkfifo(fifo)
    run = lab.start(supervisor.wrap([lab.probe, "hear", str(as_signal.value), fifo]))
    try:
        return numbers([lab.probe, "send", str(run.pid), str(sent.value), fifo, str(times)])
    finally:
        run.end()


def percentile(values, percent):
    """By the nearest rank."""
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]


def numbers(command, env=None):
    """What a command prints, as numbers."""
    told = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE)
    if told.returncode != 0:
        raise RuntimeError(f"{command}: {told.stderr}")
    return [float(word) for word in told.stdout.split()]
