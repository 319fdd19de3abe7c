"""Puts a simulated agent's programs where its driver wants them."""

import sys
from pathlib import Path

HERE = Path(__file__).parent


def program(simulator, path):
    """An executable at `path` that runs `main()` of simulators/SIMULATOR.py under that name: the
    kernel names the process of a script after the script, not after its interpreter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # While the interpreter shuts down, it takes no signals as the agent would.
    path.write_text(
        f"#!{sys.executable} -SE\n"
        f"import os, sys\n"
        f"sys.path.insert(0, {str(HERE)!r})\n"
        f"import {simulator}\n"
        f"status = {simulator}.main()\n"
        f"sys.stdout.flush()\n"
        f"os._exit(status)\n")
    path.chmod(0o755)


def copies(simulator, directory):
    """The scripts of simulators/SIMULATOR/ in a directory of the test's own."""
    directory.mkdir(parents=True, exist_ok=True)
    for script in sorted((HERE / simulator).iterdir()):
        copy = directory / script.name
        copy.write_bytes(script.read_bytes())
        copy.chmod(0o755)
