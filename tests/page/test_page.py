"""The status page of a real poller in a real browser."""

from urllib.parse import urlsplit

import pytest

HOSTILE = "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=2</script>'&{{groups}}"
MANY = [f"team-{number:03}" for number in range(130)]
# The ratio of WCAG 2.1 for text of this size, 1.4.3.
CONTRAST = 4.5
# Every text that the page shows now, with its contrast to what is behind it.
FAINT = """(() => {
    const parse = (text) => text.match(/[0-9.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b]
        .map((c) => c / 255)
        .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (element) => {
        for (; element; element = element.parentElement) {
            const colour = parse(getComputedStyle(element).backgroundColor);
            if (colour.length === 3 || colour[3] > 0) return colour;
        }
        return [255, 255, 255];
    };
    const faint = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let texts = 0;
    while (walk.nextNode()) {
        const element = walk.currentNode.parentElement;
        if (!walk.currentNode.textContent.trim() || !element.checkVisibility()) continue;
        texts += 1;
        const pair = [parse(getComputedStyle(element).color), ground(element)].map(light);
        const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
        if (ratio < LEAST) faint.push(`${walk.currentNode.textContent}: ${ratio}`);
    }
    return [texts, faint];
})()"""


def number(name):
    return f"Number(document.querySelector('.numbers .{name} b').textContent)"


def has(text):
    return f"document.body?.innerText.includes({text!r})"


def test_the_page_follows_the_poller_without_being_loaded_again(poller, page):
    poller.start()
    page.go(poller.url)
    page.look("window.same = true")
    page.wait(has("all is well"))
    poller.buildkite.scheduled["small"] = 7
    page.wait(f"{number('waiting')} === 7")
    page.wait(f"{number('alive')} === 2")
    page.wait(has("ceil("))
    poller.buildkite.scheduled["small"] = 0
    poller.buildkite.running["small"] = 7
    page.wait(f"{number('waiting')} === 0 && {number('running')} === 7")
    page.wait("document.title === '0 waiting, 7 running · clockout'")
    # The chart has all of it, and says so where the pointer is.
    page.wait("document.querySelector('.area').dataset.samples.includes('[7,')")
    x, y = page.look("""(() => {
        const box = document.querySelector(".area").getBoundingClientRect();
        return [box.right - 2, box.y + box.height / 2];
    })()""")
    page.point(x, y)
    page.wait("document.querySelector('.told')?.innerText.includes('7 running, 2 instances')")
    assert page.look("window.same"), "it was loaded again"


def test_nothing_is_asked_of_anybody_else(poller, page):
    poller.start()
    page.go(poller.url)
    count = "performance.getEntriesByType('resource').length"
    page.wait(f"{count} > 3")
    assert {urlsplit(address).netloc for address in page.asked
            if not address.startswith("data:")} == {urlsplit(poller.url).netloc}


@pytest.mark.groups(HOSTILE)
def test_a_name_is_text_whatever_is_in_it(poller, page):
    poller.start()
    page.go(poller.url)
    page.wait(f"document.querySelector('#groups .name b')?.textContent === {HOSTILE!r}")
    page.click("input[type=search]")
    page.type("<script>")
    page.wait("document.getElementById('count').innerText === '1 of 1'")
    page.wait("document.querySelector('#groups .name b')")
    assert page.look("window.hacked") is None
    assert page.look("document.querySelectorAll('script').length") == 1


def test_a_source_that_fails_is_told_of_with_its_error(poller, page):
    poller.start()
    page.go(poller.url)
    page.wait(has("all is well"))
    poller.buildkite.broken = (500, "<b>the database is away</b>")
    page.wait(has("unknown"))
    page.wait(has("500"))
    # Three rounds later it is more than a bad moment.
    page.wait(has("does not answer"))
    assert poller.get("/healthz")[0] == 503
    poller.buildkite.broken = None
    page.wait(has("all is well"))
    assert poller.get("/healthz")[0] == 200


def test_the_page_says_when_the_poller_does_not_answer_any_more(poller, page):
    poller.start()
    page.go(poller.url)
    page.wait(has("all is well"))
    assert page.look("document.getElementById('lost').hidden")
    assert poller.stop() == 0
    page.wait(has("The poller has not answered since"))
    page.complaints.clear()  # The browser's own line on each connection that was refused.
    poller.start()
    page.wait("document.getElementById('lost').hidden")
    page.complaints.clear()


def test_the_page_is_readable_without_its_script(poller, page):
    poller.buildkite.scheduled["large"] = 5
    poller.start()
    page.scripts(False)
    page.go(poller.url)
    # `noscript` has it loaded again and again.
    page.wait(has("ceil("))
    # The filter is a form.
    page.go(poller.url + "/?q=small")
    page.wait("document.getElementById('count')?.innerText === '1 of 2'")
    page.wait("document.querySelector('input[type=search]')?.value === 'small'")


@pytest.mark.groups(*MANY)
def test_many_groups_are_filtered_and_paged(poller, page):
    poller.buildkite.scheduled["team-077"] = 3
    poller.start()
    page.go(poller.url)
    page.wait("document.getElementById('count').innerText === '130'")
    rows = "document.querySelectorAll('#groups tbody tr').length"
    first = "document.querySelector('#groups .name b').innerText"
    page.wait(f"{first} === 'team-077'")
    assert page.look(rows) == 100
    page.click("#groups .pager a")
    page.wait(f"{rows} === 30")
    assert page.look("location.search").startswith("?page=2")
    page.click("input[type=search]")
    page.type("m-12")
    page.wait(f"{rows} === 10 && {first} === 'team-120'")
    assert page.look("document.activeElement.value") == "m-12", "the focus stays"
    # Later news come for the same view.
    page.look("window.before = document.getElementById('foot').innerText")
    page.wait("document.getElementById('foot').innerText !== window.before")
    assert page.look(rows) == 10


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(poller, page, scheme):
    poller.buildkite.scheduled["small"] = 7
    page.scheme(scheme)
    poller.start()
    page.go(poller.url)
    page.wait(has("ceil("))
    poller.buildkite.broken = (500, "no")
    page.wait(has("does not answer"))
    texts, faint = page.look(FAINT.replace("LEAST", str(CONTRAST)))
    assert texts > 50
    assert faint == []


@pytest.mark.groups("small", "a-name-that-is-as-long-as-the-service-allows-" + "x" * 80)
def test_no_window_is_too_narrow(poller, page):
    poller.buildkite.scheduled["small"] = 7
    poller.start()
    page.go(poller.url)
    page.wait(has("ceil("))
    for width in (320, 390, 735, 768, 992, 993, 1280):
        page.resize(width, 800, mobile=width < 500)
        page.wait(f"innerWidth === {width}")
        assert page.look("document.documentElement.scrollWidth") <= width
