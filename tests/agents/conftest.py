"""Which agents the scenarios run with, the limits of each test, and the table at the end."""

import signal

import pytest

import driver as driver_module
from bed import Bed
from table import Cells

# In seconds, of a test and of its clean-up. Far more than a slow machine needs: every wait in
# a test has a limit of its own.
TEST_LIMIT = 300
END_LIMIT = 60


def pytest_addoption(parser):
    parser.addoption("--races", type=int, default=25,
                     help="drains of each agent that no signal drains [25]")


def pytest_generate_tests(metafunc):
    if "row" in metafunc.fixturenames:
        rows = [(driver, slots) for driver in driver_module.drivers() for slots in driver.slots]
        metafunc.parametrize("row", rows, ids=[name_of(*row) for row in rows])


def name_of(driver, slots):
    kind = "real" if driver.real else "simulated"
    return f"{driver.name.replace(' ', '-')}-{kind}-{slots}"


def column_of(item):
    return item.originalname.removeprefix("test_").replace("_", "-")


@pytest.fixture
def bed(row, request):
    """A bed whose driver is set up; the cell of the table is "-" where the agent cannot do it."""
    driver, slots = row
    request.node.user_properties.append(("row", (driver.name, slots)))
    why = driver.unsupported.get(column_of(request.node))
    if why:
        request.node.user_properties.append(("why", why))
        pytest.skip(why)
    bed = Bed()
    request.node.bed = bed
    bed.driver = driver(bed, slots)
    try:
        bed.driver.setup()
        yield bed
    finally:
        limited(bed.end, END_LIMIT)


@pytest.fixture
def measured(request):
    """Called with what belongs into the table's cell instead of "ok"."""
    return lambda text: request.node.user_properties.append(("measured", text))


class TookTooLong(BaseException):
    """Not an Exception: nothing that a test calls may take it for its own failure."""


def limited(call, limit):
    def give_up(*_):
        raise TookTooLong(f"more than {limit} s")
    previous = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        return call()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    def give_up(*_):
        pytest.fail(f"the test took more than {TEST_LIMIT} s")
    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, TEST_LIMIT)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    bed = getattr(item, "bed", None)
    if report.failed and bed and bed.dir.exists():
        report.sections.append(("everything that was written", bed.logs()))
    return report


def pytest_terminal_summary(terminalreporter):
    cells = Cells()
    for outcome in ("passed", "failed", "skipped", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            cells.add(report, outcome)
    if cells:
        terminalreporter.section("agents")
        terminalreporter.write_line(cells.table(driver_module.drivers()))
