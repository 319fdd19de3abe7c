"""A metadata service, and an HTTPS server in the place of Auto Scaling and EC2, on loopback.

Only as much as makes a supervisor have its identity, its credentials and its two clients.
"""

import json
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

from lab import PATIENCE

INSTANCE = "i-0123456789abcdef0"
ROLE = "meta-data/iam/security-credentials/"
METADATA = {
    "meta-data/instance-id": INSTANCE,
    "meta-data/placement/region": "us-east-1",
    "meta-data/placement/availability-zone": "us-east-1a",
    "meta-data/tags/instance/aws:autoscaling:groupName": "ci",
    ROLE: "ci-agent",
    ROLE + "ci-agent": json.dumps({
        "Code": "Success",
        "Type": "AWS-HMAC",
        "AccessKeyId": "ASIABENCH",
        "SecretAccessKey": "bench",
        "Token": "bench",
        "LastUpdated": "2026-01-01T00:00:00Z",
        "Expiration": "2036-01-01T00:00:00Z",
    }),
    "dynamic/instance-identity/document": json.dumps({
        "instanceId": INSTANCE,
        "region": "us-east-1",
        "availabilityZone": "us-east-1a",
        "accountId": "123456789012",
    }),
}
BUNDLES = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"]


class FakeAws:
    """`env` is what leads a supervisor here, `plain_env` the same without TLS."""

    def __init__(self, directory):
        self.called = threading.Semaphore(0)
        # When each action was first called, in CLOCK_MONOTONIC nanoseconds.
        self.calls = {}
        trusted = make_certificate(directory)
        metadata = serve(Metadata)
        api, plain = serve(Api, directory), serve(Api)
        api.aws = plain.aws = self
        self.env = {
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{metadata.server_port}",
            "AWS_ENDPOINT_URL": f"https://127.0.0.1:{api.server_port}",
            "SSL_CERT_FILE": str(trusted),
        }
        self.plain_env = self.env | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{plain.server_port}"}

    def wait_for(self, wanted):
        """Waits until these actions were called."""
        while missing := wanted - self.calls.keys():
            if not self.called.acquire(timeout=PATIENCE):
                raise TimeoutError(f"called: {list(self.calls)}, not {missing}")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        # Whoever is killed in the middle of a call hangs up.
        if not isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLError)):
            super().handle_error(request, client_address)


def serve(handler, tls_in=None, port=0):
    server = Server(("127.0.0.1", port), handler)
    if tls_in:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls_in / "cert.pem", tls_in / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Quiet(BaseHTTPRequestHandler):
    # Connections are kept alive.
    protocol_version = "HTTP/1.1"
    # Head and body are written apart; together with delayed acknowledgements that costs 40 ms.
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, text, **headers):
        body = text.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def agree(self, action):
        """An empty result is a valid one of every action that is called here."""
        body = f"<{action}Response><{action}Result/></{action}Response>"
        self.answer(200, body, Content_Type="text/xml")


class Metadata(Quiet):
    def do_PUT(self):
        self.answer(200, "token", X_aws_ec2_metadata_token_ttl_seconds="21600")

    def do_GET(self):
        value = METADATA.get(self.path.removeprefix("/latest/"))
        self.answer(200 if value else 404, value or "")


class Api(Quiet):
    def do_POST(self):
        arrived = time.monotonic_ns()
        length = int(self.headers["Content-Length"])
        action = parse_qs(self.rfile.read(length).decode())["Action"][0]
        self.agree(action)
        aws = self.server.aws
        aws.calls.setdefault(action, arrived)
        aws.called.release()


def make_certificate(directory, names="IP:127.0.0.1"):
    """A certificate for these; the path of a bundle as large as a real one that trusts it."""
    def openssl(*words):
        command = ["openssl", *words]
        subprocess.run(command, cwd=directory, check=True, capture_output=True)

    new = ["req", "-x509", "-days", "2", "-nodes", "-newkey", "ec"]
    new += ["-pkeyopt", "ec_paramgen_curve:P-256"]
    openssl(*new, "-subj", "/CN=bench", "-keyout", "ca-key.pem", "-out", "ca.pem")
    openssl(
        *new, "-subj", "/CN=127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem",
        "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-addext", f"subjectAltName={names}",
        "-addext", "basicConstraints=critical,CA:FALSE",
    )
    usual = next((text for text in map(Path, BUNDLES) if text.exists()), None)
    bundle = directory / "bundle.pem"
    bundle.write_text((usual.read_text() if usual else "") + (directory / "ca.pem").read_text())
    return bundle
