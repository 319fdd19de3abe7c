"""One Chromium for all tests, and a poller for each."""

import os
import shutil

import pytest

from chromium import Chromium
from poller import Poller


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert program, "chromium is not installed: apt-get install chromium, or name one by CHROMIUM"
    browser = Chromium(program, tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def page(chromium):
    """An empty page. Whatever the test does, its script must have nothing to complain of."""
    page = chromium.open()
    yield page
    complaints = page.complaints
    page.close()
    assert complaints == []


@pytest.fixture
def poller(tmp_path, request):
    """Names of groups by `@pytest.mark.groups(...)`; each group's queue has its name."""
    marker = request.node.get_closest_marker("groups")
    poller = Poller(os.environ["CLOCKOUT"], tmp_path, marker.args if marker else ["small", "large"])
    yield poller
    print(poller.log()[-20000:])
    poller.close()
