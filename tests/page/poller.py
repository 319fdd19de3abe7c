"""A real `clockout poll`, a Buildkite of our own that it asks, and groups that are files."""

import json
import os
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.request import Request, urlopen

# In seconds; a machine that runs many tests at once is slow.
PATIENCE = 60
# What `launch` does: as many more are there at once, and are up.
LAUNCH = """printf '{"alive": %s, "max": 20}' "$CLOCKOUT_DESIRED" > "$0" """


class Buildkite:
    """Answers as the agent API's metrics; `scheduled` and `running` by queue. `broken`: a status
    and a body that it answers instead."""

    def __init__(self):
        self.scheduled, self.running, self.broken = {}, {}, None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                status, body = outer.broken or (200, json.dumps(outer.metrics()))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/v3"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def metrics(self):
        queues = {name: {"scheduled": self.scheduled.get(name, 0),
                         "running": self.running.get(name, 0)}
                  for name in {**self.scheduled, **self.running}}
        return {"agents": {"queues": {}}, "jobs": {"queues": queues},
                "organization": {"slug": "acme"}}

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Poller:
    """One poller in `directory`. Not started yet."""

    def __init__(self, program, directory, names):
        self._program = program
        self._directory = directory
        self.buildkite = Buildkite()
        self._process = None
        self._listen = "127.0.0.1:0"
        self._log = directory / "log"
        (directory / "token").write_text("not-told-to-anybody")
        (directory / "poll.toml").write_text(self._configuration(names))

    def _configuration(self, names):
        tables = ['[poll]\ninterval = "1s"\nmax_instances = 2000\n']
        for number, name in enumerate(names):
            file = self._directory / f"group-{number}.json"
            file.write_text('{"alive": 0, "max": 20}')
            source = {"url": self.buildkite.address, "queue": name,
                      "token_file": str(self._directory / "token")}
            target = {"supply": ["cat", str(file)], "launch": ["sh", "-c", LAUNCH, str(file)]}
            tables.append(f"[[group]]\nname = {toml(name)}\nslots = 4\n"
                          f"source = {table('buildkite', source)}\n"
                          f"target = {table('exec', target)}\n")
        return "\n".join(tables)

    def start(self):
        """At the address that it had before, if it ran before."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._directory)}
        log = open(self._log, "wb")
        with log:
            self._process = subprocess.Popen(
                [self._program, "poll", "--config", self._directory / "poll.toml",
                 "--listen", self._listen, "--log-format", "json"],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._listen = self._address()

    def _address(self):
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            if self._process.poll() is not None:
                break
            for line in self.log().splitlines():
                if '"poll.listening"' in line:
                    return json.loads(line)["address"]
            time.sleep(0.02)
        raise AssertionError(f"it does not listen:\n{self.log()}")

    def log(self):
        return self._log.read_text(errors="replace")

    @property
    def url(self):
        return f"http://{self._listen}"

    def get(self, path, accept="*/*"):
        """The status, the content type, and the text."""
        try:
            answer = urlopen(Request(self.url + path, headers={"Accept": accept}), timeout=PATIENCE)
        except HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()

    def stop(self):
        """Returns the exit status."""
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(PATIENCE)
        self._process = None
        return status

    def close(self):
        if self._process:
            self._process.kill()
            self._process.wait(PATIENCE)
        self.buildkite.close()


def toml(text):
    """A basic string: JSON's escapes are TOML's."""
    return json.dumps(text)


def table(kind, values):
    pairs = {"kind": kind, **values}
    return "{ " + ", ".join(f"{key} = {toml(value)}" for key, value in pairs.items()) + " }"
