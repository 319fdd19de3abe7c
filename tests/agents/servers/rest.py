"""What the fake CI servers that speak JSON over HTTP have in common."""

import gzip
import json
import select
import socket
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Request:
    method: str
    path: str
    headers: Any
    # Parsed JSON; None where the body is none, as a job's output.
    body: Any
    connection: socket.socket

    def hung_up(self):
        """Whoever asked waits for no answer any more."""
        try:
            readable, _, _ = select.select([self.connection], [], [], 0)
            return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""
        except (OSError, ValueError):
            # Reset, or closed on this side too.
            return True


class RestServer:
    """Answers with `answer()` of its subclass, on a loopback port of its own."""

    def __init__(self):
        # For all that requests change; held by `answer` where it looks at that.
        self.changed = threading.Condition()
        # What the agent told: (job id, word), in its order.
        self.told = []
        self.stopped = False
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(self))
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self):
        """`host:port`."""
        return "127.0.0.1:%d" % self.http.server_address[1]

    def answer(self, request):
        """(status, what is sent as JSON or None)."""
        raise NotImplementedError

    def heard(self):
        with self.changed:
            return list(self.told)

    def tell(self, job, word):
        with self.changed:
            self.told.append((job.id, word))

    def hold(self, request, ready=lambda: None):
        """Waits until `ready()` has something, and returns it. None: there is nobody to answer."""
        with self.changed:
            while not self.stopped and not request.hung_up():
                found = ready()
                if found is not None:
                    return found
                # Nothing tells of a hang-up, so it is looked for.
                self.changed.wait(0.1)
        return None

    def stop(self):
        with self.changed:
            self.stopped = True
            self.changed.notify_all()
        self.http.shutdown()
        self.http.server_close()


def handler_for(server):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def any_method(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = parsed(self.rfile.read(length), self.headers.get("Content-Encoding"))
            path = self.path.partition("?")[0]
            request = Request(self.command, path, self.headers, body, self.connection)
            status, content = server.answer(request)
            data = b"" if content is None else json.dumps(content).encode()
            try:
                self.send_response(status)
                # 204 has no body and, by the standard, no length.
                if status != 204:
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except ConnectionError:
                # An agent that was killed does not wait for its answers.
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_PATCH = any_method

        def log_message(self, *_):
            """Quiet: a failing test prints what was heard."""

    return Handler


def parsed(data, encoding):
    """The JSON of a request's body."""
    if encoding == "gzip":
        data = gzip.decompress(data)
    try:
        return json.loads(data) if data else None
    except ValueError:
        return None
