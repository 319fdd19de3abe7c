"""A headless Chromium, driven over two pipes: the Chrome DevTools Protocol, messages separated by
NUL (`--remote-debugging-pipe`). Needs no driver and no open port."""

import base64
import fcntl
import json
import os
import select
import subprocess
import time

# In seconds; far more than a slow machine needs.
PATIENCE = 60


class PageError(Exception):
    """What the browser or the page's script complains of."""


class Chromium:
    def __init__(self, program, profile):
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        # Out of the way of 3 and 4, where Chromium expects its ends.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (to_read, to_write)]
        os.close(to_read)
        os.close(to_write)

        def place():
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        arguments = [program, "--headless", "--remote-debugging-pipe", "--disable-gpu",
                     "--hide-scrollbars", "--no-first-run", "--disable-background-networking",
                     f"--user-data-dir={profile}"]
        if os.geteuid() == 0:
            # Its sandbox refuses to be root's; the pages are our own.
            arguments.append("--no-sandbox")
        self._process = subprocess.Popen(
            arguments, preexec_fn=place, pass_fds=(3, 4), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for end in ends:
            os.close(end)
        self._buffer = b""
        self._number = 0
        self._pages = {}

    def call(self, method, session=None, **parameters):
        """Asks the browser, or one page, and returns its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        rest = json.dumps(message).encode() + b"\0"
        while rest:
            rest = rest[os.write(self._to, rest):]
        number = self._number
        while True:
            answer = self._read()
            if answer.get("id") == number:
                if "error" in answer:
                    raise PageError(f"{method}: {answer['error']}")
                return answer["result"]
            self._note(answer)

    def open(self, width=1280, height=900):
        """An empty page in a session of its own."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session, target)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.resize(width, height)
        return page

    def _read(self):
        give_up = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            left = max(give_up - time.monotonic(), 0)
            if not select.select([self._from], [], [], left)[0]:
                raise PageError("Chromium does not answer")
            more = os.read(self._from, 1 << 20)
            if not more:
                raise PageError(f"Chromium has ended with {self._process.wait()}")
            self._buffer += more
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event):
        page = self._pages.get(event.get("sessionId"))
        if page:
            page.note(event["method"], event["params"])

    def close(self):
        try:
            self.call("Browser.close")
        except (PageError, OSError):
            self._process.kill()
        self._process.wait(PATIENCE)
        os.close(self._to)
        os.close(self._from)


class Page:
    def __init__(self, browser, session, target):
        self._browser = browser
        self._session = session
        self._target = target
        # What scripts threw, what the policy refused, what was not found.
        self.complaints = []
        # Every address that was asked for.
        self.asked = []

    def call(self, method, **parameters):
        return self._browser.call(method, session=self._session, **parameters)

    def note(self, method, parameters):
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(parameters["exceptionDetails"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.complaints.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.asked.append(parameters["request"]["url"])

    def go(self, address):
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def look(self, script):
        """The value of a JavaScript expression, awaited."""
        told = self.call("Runtime.evaluate", expression=script, awaitPromise=True,
                         returnByValue=True)
        if "exceptionDetails" in told:
            raise PageError(f"{script}: {told['exceptionDetails']}")
        return told["result"].get("value")

    def wait(self, script):
        """Until the expression is true. Between two pages it has no value."""
        give_up = time.monotonic() + PATIENCE
        value = False
        while value is not True:
            if time.monotonic() > give_up:
                raise PageError(f"never true: {script}: {value}\n{self.text()[:4000]}")
            time.sleep(0.05)
            try:
                value = self.look(f"Boolean({script})")
            except PageError as error:
                value = error

    def text(self):
        return self.look("document.body.innerText")

    def type(self, text):
        """As a keyboard, into what has the focus."""
        for character in text:
            self.call("Input.dispatchKeyEvent", type="char", text=character)

    def point(self, x, y):
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector):
        x, y = self.look(f"""(() => {{
            const element = document.querySelector({json.dumps(selector)});
            element.scrollIntoView({{block: "center"}});
            const box = element.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()""")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def resize(self, width, height, mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=mobile)

    def scheme(self, name):
        """`light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def scripts(self, allowed):
        self.call("Emulation.setScriptExecutionDisabled", value=not allowed)

    def picture(self, path):
        """The whole page as a PNG."""
        told = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        with open(path, "wb") as file:
            file.write(base64.b64decode(told["data"]))

    def close(self):
        self._browser.call("Target.closeTarget", targetId=self._target)
