"""How soon a notice is acted on, and what it costs to watch for one."""

import random
import time

import idle
from metadata import PATHS, SEEN_AT, Machine

# A notice comes within so many seconds: whole turns of every tool that is compared, so that none
# of them is met at a better moment than another.
WINDOW = 10
TOGETHER = 4
# From <linux/posix-timers_types.h>: the processor time of a process, as a clock of its own.
CPUCLOCK_SCHED = 2


def delays(world, watchers, runs, seed):
    """Seconds from a notice to what each watcher does about it, by (watcher, notice). Each is a
    new process with a metadata service of its own, to which the notice comes at a random time."""
    found = {}
    moments = random.Random(seed)
    for first in range(0, runs, TOGETHER):
        together = min(TOGETHER, runs - first)
        trials = [
            Trial(world, name, watcher, notice)
            for name, watcher in watchers.items()
            for notice in watcher.understands
            for _ in range(together)
        ]
        for trial in trials:
            trial.wait_watching()
        began = time.monotonic()
        timed = sorted(((moments.uniform(0, WINDOW), trial) for trial in trials), key=lambda t: t[0])
        for moment, trial in timed:
            time.sleep(max(0, began + moment - time.monotonic()))
            trial.announce()
        for _, trial in timed:
            found.setdefault((trial.name, trial.notice), []).append(trial.delay())
            trial.end()
    return found


class Trial:
    """One watcher that will see one notice."""

    def __init__(self, world, name, watcher, notice):
        self.name = name
        self.notice = notice
        self.path = next(path for path in SEEN_AT[notice] if path in watcher.paths)
        self.machine = Machine()
        self.watching = watcher.start(world, self.machine)

    def wait_watching(self):
        self.watching.wait_ready()
        # Its first look may be before it is ready to act; from the second on it is in its rhythm.
        self.machine.wait_asked(self.path, 2)

    def announce(self):
        self.announced = self.machine.announce(self.notice)

    def delay(self):
        return (self.watching.acted() - self.announced) / 1e9

    def end(self):
        self.watching.end()
        self.machine.end()


def costs(world, watchers, seconds):
    """What each costs while it watches and nothing happens, by name. All run at the same time."""
    machines = {name: Machine() for name in watchers}
    runs = {name: one.start(world, machines[name]) for name, one in watchers.items()}
    # What they do after starting is no watching. The count of it, not its time, is what matters.
    time.sleep(2 * WINDOW)
    before = {name: Meter(runs[name].run.pid, machines[name]) for name in watchers}
    time.sleep(seconds)
    found = {}
    for name, watching in runs.items():
        found[name] = Cost(before[name], Meter(watching.run.pid, machines[name]))
        watching.end()
        machines[name].end()
    return found


class Meter:
    """Where the counters of one process and its metadata service stand."""

    def __init__(self, pid, machine):
        self.time = time.monotonic()
        self.processor = processor_seconds(pid)
        self.wakeups = idle.wakeups(pid)
        self.resident = idle.resident_kib(pid)
        self.asked = machine.asked.copy()
        self.connections = machine.connections


class Cost:
    """What became of it between two moments."""

    def __init__(self, before, after):
        took = after.time - before.time
        asked = after.asked - before.asked
        self.resident_kib = after.resident
        self.requests_a_minute = asked.total() * 60 / took
        self.requests_a_minute_each = self.requests_a_minute / len(asked.keys() & PATHS)
        self.connections_a_minute = (after.connections - before.connections) * 60 / took
        self.processor_seconds_an_hour = (after.processor - before.processor) * 3600 / took
        self.wakeups_a_minute = (after.wakeups - before.wakeups) * 60 / took


def processor_seconds(pid):
    """What a process has had so far, threads that have ended included, in nanosecond steps."""
    return time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)
