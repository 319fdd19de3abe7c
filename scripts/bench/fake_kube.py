"""As much of a Kubernetes API as the node termination handler needs to drain a node.

Every node that is asked for is there, with one pod on it, which is gone once it was evicted.
"""

import json
import threading
import time
from urllib.parse import parse_qs, unquote, urlsplit

from fake_aws import Quiet, make_certificate, serve
from lab import PATIENCE

EVICTION = {
    "name": "pods/eviction", "namespaced": True, "kind": "Eviction", "group": "policy",
    "version": "v1", "verbs": ["create"],
}


class FakeKube:
    """`account` is a service account's directory, as pods see it."""

    def __init__(self, directory):
        make_certificate(directory)
        self.account = directory / "run" / "secrets" / "kubernetes.io" / "serviceaccount"
        self.account.mkdir(parents=True)
        (self.account / "token").write_text("bench")
        (self.account / "namespace").write_text("kube-system")
        (self.account / "ca.crt").write_bytes((directory / "ca.pem").read_bytes())
        # When the pod of each node was first evicted, in CLOCK_MONOTONIC nanoseconds.
        self.evicted = {}
        self.changed = threading.Condition()
        server = serve(Kube, directory)
        server.kube = self
        self.port = server.server_port

    def wait_evicted(self, node):
        """When the pod of a node was."""
        with self.changed:
            if not self.changed.wait_for(lambda: node in self.evicted, PATIENCE):
                raise TimeoutError(f"the pod on {node} was not evicted")
            return self.evicted[node]

    def evict(self, node, now):
        with self.changed:
            self.evicted.setdefault(node, now)
            self.changed.notify_all()


class Kube(Quiet):
    def do_GET(self):
        url = urlsplit(self.path)
        match url.path.strip("/").split("/"):
            case ["api", "v1"]:
                self.give(kind="APIResourceList", groupVersion="v1", resources=[EVICTION])
            case ["api", "v1", "nodes"]:
                # Selected by a label that no node has.
                self.give(kind="NodeList", items=[])
            case ["api", "v1", "nodes", node]:
                self.give(**a_node(node))
            case ["api", "v1", "pods"]:
                wanted = unquote(parse_qs(url.query)["fieldSelector"][0])
                node = wanted.removeprefix("spec.nodeName=")
                gone = node in self.server.kube.evicted
                self.give(kind="PodList", items=[] if gone else [a_pod(node)])
            case _:
                self.give(404, kind="Status", status="Failure", reason="NotFound", code=404)

    def do_PATCH(self):
        self.read()
        self.give(**a_node(self.path.split("/")[4].partition("?")[0]))

    def do_POST(self):
        now = time.monotonic_ns()
        self.read()
        # /api/v1/namespaces/default/pods/NODE-work/eviction
        self.server.kube.evict(self.path.split("/")[6].removesuffix("-work"), now)
        self.give(201, kind="Status", status="Success")

    def read(self):
        return self.rfile.read(int(self.headers["Content-Length"]))

    def give(self, status=200, /, **thing):
        text = json.dumps({"apiVersion": "v1"} | thing)
        self.answer(status, text, Content_Type="application/json")


def a_node(name):
    return {"kind": "Node", "metadata": {"name": name, "labels": {}}, "spec": {}}


def a_pod(node):
    return {
        "kind": "Pod",
        "metadata": {"name": f"{node}-work", "namespace": "default", "uid": node},
        "spec": {"nodeName": node, "containers": [{"name": "work"}]},
        "status": {"phase": "Running"},
    }
