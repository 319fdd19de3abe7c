"""A job that agents run: a script that writes down what really happened to it."""

import os

# `$note` is one short write to a file opened for appending: whole, whoever else writes.
SCRIPT = """#!/bin/sh
note() {{ printf '%s {id}\\n' "$1" >> '{truth}'; }}
trap 'note killed; exit 143' TERM INT HUP
note start
{prints}while ! [ -e '{released}' ]; do sleep 0.02; done
note end
exit {exit_code}
"""
PRINTS = "cat '{file}'\nnote printed\n"


class Job:
    """Runs until it is released, then ends with `exit_code`.

    `id` is made of digits; `script` is the path of an executable /bin/sh script.
    """

    def __init__(self, bed, id, prints, exit_code):
        self.id = id
        self.exit_code = exit_code
        self.prints = prints
        self.script = str(bed.dir / "jobs" / f"job-{id}.sh")
        printing = ""
        if prints:
            file = bed.dir / "jobs" / f"job-{id}.prints"
            file.write_bytes(prints)
            printing = PRINTS.format(file=file)
        with open(self.script, "w") as script:
            script.write(SCRIPT.format(
                id=id, truth=bed.truth_file, released=bed.dir / "release" / id,
                exit_code=exit_code, prints=printing))
            os.fchmod(script.fileno(), 0o755)

    @property
    def outcome(self):
        """What the CI server must hear in the end, unless it is cancelled or lost."""
        return "passed" if self.exit_code == 0 else "failed"

    def __repr__(self):
        return f"job {self.id}"
