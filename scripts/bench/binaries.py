"""The programs that are compared: clockout as it is released, tini and dumb-init from Debian."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FULL, SMALL = "clockout", "clockout, no AWS"


class Supervisor:
    """One of the programs, and how it is told to run an agent."""

    def __init__(self, path, *words):
        self.path = path
        self.words = words

    def wrap(self, agent, *options):
        """The command line; `options` come before the agent."""
        return [self.path, *self.words, *options, "--", *agent]


def peers():
    """tini and dumb-init, by name."""
    found = {name: shutil.which(name) for name in ("tini", "dumb-init")}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        sys.exit(f"not installed: {' '.join(missing)}; apt-get install tini dumb-init")
    return {name: Supervisor(path) for name, path in found.items()}


def clockouts(wanted):
    """Those of `wanted` (`FULL`, `SMALL`), by name: the programs that CLOCKOUT and, for the
    small one, CLOCKOUT_SMALL name, else new builds."""
    named = {FULL: os.environ.get("CLOCKOUT"), SMALL: os.environ.get("CLOCKOUT_SMALL")}
    if not any(named.values()):
        named = {name: build(name) for name in wanted}
    for path in filter(None, named.values()):
        if not os.access(path, os.X_OK):
            sys.exit(f"{path}: no such program")
    return {
        name: Supervisor(os.path.abspath(path), "run")
        for name, path in named.items()
        if path and name in wanted
    }


def any_clockout():
    """The one that CLOCKOUT names, else a new build without AWS."""
    name = FULL if "CLOCKOUT" in os.environ else SMALL
    return clockouts([name])[name]


def build(name):
    """A new static release build."""
    features = "--full" if name == FULL else "--supervisor-only"
    print(f"building {name}", file=sys.stderr, flush=True)
    command = [ROOT / "scripts" / "build-static", features]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return told.splitlines()[-1]
