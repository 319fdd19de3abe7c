"""A Jenkins controller, as far as one node is concerned: its executors, its page, its queue.

The page is core's hudson.model.Computer: `GET /computer/NODE/api/json`, `POST .../toggleOffline`
(turns a cordon back off, so nobody who repeats requests can use it) and `POST
.../changeOfflineCause` (puts offline, whatever it was); both answer 302. The channel to the agent
is JSON lines over TCP: our own, as the agent is. As over remoting, it is the controller that runs
the steps of a build, and the builds of an agent whose channel ends have failed.
"""

import base64
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# In seconds: what a build takes beside its steps. Who looks once a second sees each.
AROUND_STEPS = 1.5
NODE = "node 1"
USER, TOKEN = "clockout", "11-a-secret-of-jenkins"


class Controller:
    """Serves at once: `address` its pages, `channel` the agent."""

    def __init__(self, executors):
        self.changed = threading.Condition()
        self.queue = []
        self.executors = [None] * executors
        self.offline = False
        self.told = []
        # What was asked of the node's page, as (method, last part of the path).
        self.asked = []
        # How many cordons are made and answered with an error all the same.
        self.lost_answers = 0
        self.stopped = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.channel = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self.http.controller = self
        self.http.daemon_threads = True
        self.address = "127.0.0.1:%d" % self.http.server_port
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def offer(self, job, *steps):
        """A build of these steps: "freestyle" and "durable" run the job's script, each in its own
        way, and a file's path is waited for, which needs no process on the node."""
        with self.changed:
            self.queue.append((job, steps))
            self.changed.notify_all()

    def heard(self):
        with self.changed:
            return list(self.told)

    def restore(self):
        with self.changed:
            self.offline = False
            self.changed.notify_all()

    def stop(self):
        with self.changed:
            self.stopped = True
            self.changed.notify_all()
        self.listener.close()
        self.http.shutdown()
        self.http.server_close()

    # --- builds

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return  # Stopped.
            agent = Agent(connection)
            threading.Thread(target=agent.listen, args=(self,), daemon=True).start()
            for number in range(len(self.executors)):
                threading.Thread(target=self.execute, args=(number, agent), daemon=True).start()

    def execute(self, number, agent):
        """One executor: build after build, while the channel is there."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.stopped or agent.gone
                                      or self.queue and not self.offline)
                if self.stopped or agent.gone:
                    return
                job, steps = self.queue.pop(0)
                self.executors[number] = job
                self.told.append((job.id, "started"))
            codes = [self.step(agent, job, step) for step in steps]
            with self.changed:
                if not agent.gone:
                    self.changed.wait_for(lambda: agent.gone or self.stopped, AROUND_STEPS)
                self.told.append((job.id, "failed" if any(codes) else "passed"))
                self.executors[number] = None

    def step(self, agent, job, step):
        """Its exit status; one that cannot be known is a failure."""
        if step not in ("freestyle", "durable"):
            return self.wait_for_file(step)
        with self.changed:
            if not agent.send({"id": job.id, "how": step, "script": job.script}):
                return 1
            self.changed.wait_for(lambda: job.id in agent.codes or agent.gone or self.stopped)
            return agent.codes.pop(job.id, 1)

    def wait_for_file(self, path):
        with self.changed:
            while not (path.exists() or self.stopped):
                self.changed.wait(0.05)
        return 0


class Agent:
    """The controller's end of a channel. Its fields are the controller's, under its lock."""

    def __init__(self, connection):
        self.connection = connection
        # How steps ended: id -> exit status.
        self.codes = {}
        self.gone = False

    def send(self, message):
        try:
            self.connection.sendall(json.dumps(message).encode() + b"\n")
            return True
        except OSError:
            return False

    def listen(self, controller):
        lines = self.connection.makefile("rb")
        try:
            for line in lines:
                said = json.loads(line)
                with controller.changed:
                    self.codes[said["id"]] = said["code"]
                    controller.changed.notify_all()
        except (OSError, ValueError):
            pass  # It was killed in the middle of a word.
        with controller.changed:
            self.gone = True
            controller.changed.notify_all()


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answered(lambda controller: (200, {
            "executors": [{"idle": job is None} for job in controller.executors],
            "oneOffExecutors": []}))

    def do_POST(self):
        actions = {"toggleOffline": lambda controller: not controller.offline,
                   "changeOfflineCause": lambda _: True}
        action = actions[urlsplit(self.path).path.rpartition("/")[2]]

        def act(controller):
            controller.offline = action(controller)
            if controller.lost_answers:
                controller.lost_answers -= 1
                return 502, None
            return 302, None

        self.answered(act)

    def answered(self, answer):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        expected = "Basic " + base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
        path = urlsplit(self.path).path
        controller = self.server.controller
        with controller.changed:
            controller.asked.append((self.command, path.rpartition("/")[2]))
            if self.headers.get("Authorization") != expected:
                status, content = 401, None
            elif not path.startswith("/computer/" + NODE.replace(" ", "%20") + "/"):
                status, content = 404, None
            else:
                status, content = answer(controller)
        body = json.dumps(content).encode() if content else b""
        try:
            self.send_response(status)
            if status == 302:
                self.send_header("Location", ".")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_):
        """Quiet: a failing test prints what was heard."""
