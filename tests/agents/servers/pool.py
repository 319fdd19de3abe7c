"""The CI server of simulated agents that ask for one job at a time.

The protocol is our own, as the agents are: what matters is who knows what when. A job is
*offered*, *assigned* when an agent's poll returns with it, *acquired* when the agent says that it
takes it, and then finished. What was only assigned goes back to the queue when its agent goes
away; an acquired job of an agent that went away is lost.
"""

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# In seconds: how long a poll is held while there is no job.
POLL = 20


class Pool:
    """Starts to serve at once; `url` says where. `on_the_way` is how long an agent waits for the
    answer when it acquires a job, in seconds."""

    def __init__(self, on_the_way=0):
        self.changed = threading.Condition()
        self.offered = []
        # By the id of the job; the session is that of an agent's process.
        self.assigned = {}
        self.running = {}
        self.left = set()
        self.said = []
        self.removed = False
        self.refused = 0
        self.ended = False
        self.on_the_way = on_the_way
        # What happens when an agent's removal is asked for, before it is answered.
        self.before_removal = lambda: None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.pool = self
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def offer(self, job, **more):
        """`more` is sent to the agent with the job."""
        with self.changed:
            self.offered.append({"id": job.id, "script": job.script, **more})
            self.changed.notify_all()

    def order_update(self):
        """The next poll returns with the order to become a newer version."""
        with self.changed:
            self.offered.insert(0, {"update": True})
            self.changed.notify_all()

    def heard(self):
        with self.changed:
            return list(self.said)

    def stop(self):
        with self.changed:
            self.ended = True
            self.changed.notify_all()
        self.server.shutdown()
        self.server.server_close()

    # --- the agents' calls: the status and what is answered

    def poll(self, session, is_gone):
        """Waits for a job. `is_gone()` says that the agent hung up."""
        give_up = time.monotonic() + POLL
        with self.changed:
            while not self.removed:
                late = self.ended or time.monotonic() > give_up
                if late or session in self.left or is_gone():
                    return 204, None
                if self.offered:
                    job = self.offered.pop(0)
                    if "id" in job:
                        self.assigned[job["id"]] = (session, job)
                    return 200, job
                # Woken up to see whether the agent is still there.
                self.changed.wait(0.1)
            return 404, None

    def acquire(self, id):
        time.sleep(self.on_the_way)
        with self.changed:
            session, job = self.assigned.pop(id, (None, None))
            if job is None:
                return 409, None
            self.running[id] = session
            self.said.append((id, "started"))
            return 200, job

    def finish(self, id, outcome):
        with self.changed:
            if self.running.pop(id, None) is None:
                return 409, None
            self.said.append((id, outcome))
            return 200, None

    def leave(self, session):
        """The session ends. No job is handed out in it any more."""
        with self.changed:
            self.left.add(session)
            for id in [id for id, (of, _) in self.assigned.items() if of == session]:
                self.offered.insert(0, self.assigned.pop(id)[1])
            for id in [id for id, of in self.running.items() if of == session]:
                del self.running[id]
                self.said.append((id, "lost"))
            self.changed.notify_all()
        return 200, None

    def remove(self):
        """Refused while a job is with the agent; after that the agent gets none."""
        self.before_removal()
        with self.changed:
            if self.assigned or self.running:
                self.refused += 1
                return 422, None
            self.removed = True
            self.changed.notify_all()
            return 200, None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = json.loads(body or "{}")
        pool = self.server.pool
        calls = {
            "/poll": lambda: pool.poll(said["session"], self.is_gone),
            "/acquire": lambda: pool.acquire(said["id"]),
            "/finish": lambda: pool.finish(said["id"], said["outcome"]),
            "/leave": lambda: pool.leave(said["session"]),
            "/remove": pool.remove,
        }
        status, answer = calls[self.path]()
        body = json.dumps(answer).encode() if answer else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def is_gone(self):
        """Whether the agent closed its end: only then is there something to read."""
        self.connection.settimeout(0)
        try:
            return self.connection.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.connection.settimeout(None)

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except OSError:
            # The agent was killed in the middle of it.
            self.close_connection = True

    def log_message(self, *_):
        pass
