"""Which agents the scenarios run with, the limits of each test, and the table at the end."""

import signal
from contextlib import contextmanager

import pytest

import driver as driver_module
from bed import Bed
from table import Cells

# In seconds, for a test and more for each drain of a race. Far more than a slow machine needs:
# every wait in a test has a limit of its own.
SETUP_LIMIT = 120
TEST_LIMIT = 300
DRAIN_LIMIT = 10
END_LIMIT = 60
# Ways to drain in which an idle agent can be given a job in the wrong moment.
RACY = ("wait-idle", "single-job")


def pytest_addoption(parser):
    parser.addoption("--races", type=int, default=25,
                     help="drains of each agent that no signal drains [25]")


def pytest_generate_tests(metafunc):
    if "row" not in metafunc.fixturenames:
        return
    rows = [(driver, slots) for driver in driver_module.drivers() for slots in driver.slots
            if column_of(metafunc.function) != "race" or driver.drains in RACY]
    metafunc.parametrize("row", rows, ids=[name_of(*row) for row in rows])


def name_of(driver, slots):
    kind = "real" if driver.real else "simulated"
    return f"{driver.name.replace(' ', '-')}-{kind}-{slots}"


def column_of(function):
    return function.__name__.removeprefix("test_").replace("_", "-")


@pytest.fixture
def new_bed(row, request):
    """Makes beds whose drivers are set up, one after the other; the last is ended with the test.
    The cell of the table is "-" where the agent cannot do it."""
    driver, slots = row
    request.node.user_properties.append(("row", (driver.name, slots)))
    why = driver.unsupported.get(column_of(request.function))
    if why:
        request.node.user_properties.append(("why", why))
        pytest.skip(why)

    def make():
        end()
        request.node.bed = bed = Bed()
        bed.driver = driver(bed, slots)
        bed.driver.setup()
        return bed

    def end():
        bed = getattr(request.node, "bed", None)
        if bed:
            bed.end()

    yield make
    end()


@pytest.fixture
def bed(new_bed):
    return new_bed()


@pytest.fixture
def measured(request):
    """Called with what belongs into the table's cell instead of "ok"."""
    return lambda text: request.node.user_properties.append(("measured", text))


@contextmanager
def at_most(seconds, what):
    """Fails the test that takes longer, wherever it hangs. Not for use within itself."""
    def give_up(*_):
        pytest.fail(f"{what} took more than {seconds} s")
    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    with at_most(SETUP_LIMIT, "setting up"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    with at_most(TEST_LIMIT + DRAIN_LIMIT * item.config.option.races, "the test"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    with at_most(END_LIMIT, "cleaning up"):
        return (yield)


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
