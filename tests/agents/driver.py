"""How the scenarios drive one kind of agent. One subclass a row of the table, in drivers/."""

import importlib
import os
import pkgutil
from pathlib import Path

REGISTRY = []


class Driver:
    """Named subclasses register themselves; those without a name are bases of others."""

    # The row: "buildkite 3.116.0".
    name: str = ""
    # The preset that must be chosen by itself.
    preset: str = ""
    real: bool = False
    # Slot numbers tested; 1 only where one process runs one job. In an instance: its own.
    slots: tuple = (1, 3)
    # How it drains: signal, wait-idle, single-job or command.
    drains: str = "signal"
    # Whether clockout gets to know which jobs passed and failed.
    outcomes: bool = True
    # Whether the cancel step ends the job and the server hears of it.
    cancels: bool = True
    # Whether the job's output appears on the agent's own streams.
    mixes_output: bool = False
    # Whether a job may print whatever bytes it likes.
    prints_bytes: bool = True
    # Of the agent after a drain.
    exit_status: int = 0
    # How else it may end then: an agent of one job at a time may have begun anew just before.
    further_exits: tuple = ()
    # Column: why it is impossible. A footnote of the table; only what the agent itself prevents.
    unsupported: dict = {}

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if cls.__dict__.get("name"):
            REGISTRY.append(cls)

    def __init__(self, bed, slots):
        self.bed = bed
        self.slots = slots
        # The fake CI server, from `setup` on.
        self.server = None

    def setup(self):
        """Writes configuration, starts the fake server. Before clockout is started."""

    def command(self):
        """The agent's argv."""
        raise NotImplementedError

    def env(self):
        """For clockout, and so for the agent."""
        return {}

    def options(self):
        """Further options of `clockout run`; max-jobs and time limits are the scenarios'."""
        return []

    def offer(self, job):
        """The server hands this job to the agent as soon as that asks. Each job once."""
        self.server.offer(job)

    def heard(self):
        """What the server was told: (job id, started|passed|failed|canceled|lost)."""
        return self.server.heard()

    def fake_lines(self):
        """What a hostile job prints: the agent's own start and finish lines."""
        return []

    def settle(self):
        """Waits until the agent handles signals, where neither its lines nor its jobs say so."""

    def log_id(self, job):
        """The job's id in clockout's log; None where the agent's lines have none."""
        return None

    def stop(self):
        """Ends the server. Called even when `setup` failed half-way."""
        if self.server:
            self.server.stop()


def agents_dir():
    """Where scripts/agents-setup puts the real agents."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "clockout-tests" / "agents"


def installed(program):
    """The path of a real agent, `bin/NAME` below `agents_dir()`."""
    path = agents_dir() / "bin" / program
    assert path.exists(), f"{path} is missing: run scripts/agents-setup"
    return str(path)


def drivers():
    """All rows, in the order of their names."""
    package = Path(__file__).parent / "drivers"
    for module in sorted(pkgutil.iter_modules([str(package)]), key=lambda module: module.name):
        importlib.import_module(f"drivers.{module.name}")
    return sorted(REGISTRY, key=lambda driver: (driver.preset, driver.name))
