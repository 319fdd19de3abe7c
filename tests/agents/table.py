"""The table of all agents, printed at the end of the tests."""

from collections import defaultdict

# The scenarios of test_agents.py and test_race.py.
COLUMNS = ["ready", "count", "transitions", "drain-busy", "drain-idle", "cancel", "lost",
           "max-jobs", "spoof", "exit", "race"]
LEGEND = """\
count: 20 jobs, by clockout, the server and the jobs themselves · transitions: seconds until status
shows busy and idle again · drain-busy: jobs that an agent took after the drain began, and finished ·
drain-idle: seconds · max-jobs: jobs run, of those allowed · race: jobs cut off, of so many drains"""


class Cells:
    def __init__(self):
        # (name, slots) -> column -> text
        self.rows = defaultdict(dict)
        self.notes = []

    def __bool__(self):
        return bool(self.rows)

    def add(self, report, outcome):
        """Takes a test's report; reports of other tests are not for the table."""
        about = dict(getattr(report, "user_properties", []))
        if "row" not in about:
            return
        name = report.nodeid.rpartition("::test_")[2].partition("[")[0]
        row = self.rows[tuple(about["row"])]
        if outcome in ("failed", "error"):
            row[name.replace("_", "-")] = "FAILED"
        elif outcome == "skipped":
            row[name.replace("_", "-")] = f"- {self.note(about['why'])}" if "why" in about else "-"
        elif report.when == "call":
            row.setdefault(name.replace("_", "-"), about.get("measured", "ok"))

    def note(self, why):
        """The footnote's number."""
        if why not in self.notes:
            self.notes.append(why)
        return f"[{self.notes.index(why) + 1}]"

    def table(self, drivers):
        lines = [["agent", "slots", *COLUMNS, "kind"]]
        for driver in drivers:
            for slots in driver.slots:
                cells = self.rows.get((driver.name, slots))
                if cells:
                    kind = "real" if driver.real else "simulated"
                    lines.append([driver.name, str(slots),
                                  *(cells.get(column, "") for column in COLUMNS), kind])
        widths = [max(map(len, column)) for column in zip(*lines)]
        text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
                for line in lines]
        notes = [f"[{number}] {why}" for number, why in enumerate(self.notes, 1)]
        return "\n".join([*text, "", LEGEND, *notes])
