"""The fake servers that speak Connect and gRPC: programs of go/rpc, each of a test's own."""

import json
import subprocess
import urllib.request

from driver import installed

# In seconds, for a call and for the end of a server.
PATIENCE = 20


class RpcServer:
    """Starts to serve at once; `agents` is the address that its agents need."""

    def __init__(self, program):
        # It ends when its standard input does, and so with this process.
        self.process = subprocess.Popen(
            [installed(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        said = json.loads(self.process.stdout.readline())
        self.agents = said["agents"]
        self.control = said["control"]

    def offer(self, job):
        body = json.dumps({"id": job.id, "script": job.script}).encode()
        self.call(urllib.request.Request(f"http://{self.control}/offer", body, method="POST"))

    def heard(self):
        return [tuple(said) for said in
                json.loads(self.call(f"http://{self.control}/heard"))]

    def call(self, request):
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.read()

    def stop(self):
        self.process.stdin.close()
        self.process.stdout.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
