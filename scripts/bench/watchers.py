"""The programs that watch a machine's metadata service, and what each does about a notice.

What is timed ends where the work is told to stop: `clockout run` and lifecycled's handler signal
the agent; the node termination handler evicts the pod, which the kubelet signals later still.
"""

import functools
import os
import select
import shutil
import signal
import struct
import subprocess

from fake_aws import FakeAws
from fake_kube import FakeKube
from lab import PATIENCE
from metadata import MAINTENANCE, REBALANCE, SPOT, SPOT_TIME, TARGET

EVERYTHING = (SPOT, REBALANCE, MAINTENANCE, TARGET)
ALL = {"spot", "rebalance", "maintenance", "scale-in"}


class World:
    """What they share: a lab, and the fakes of what they talk to beside the metadata service."""

    def __init__(self, lab):
        self.lab = lab

    @functools.cached_property
    def aws(self):
        return FakeAws(self.directory("aws"))

    @functools.cached_property
    def kube(self):
        return FakeKube(self.directory("kube"))

    def directory(self, name):
        path = self.lab.path(name)
        path.mkdir()
        return path


class Clockout:
    """`clockout run`, with an agent that tells when it is signalled."""

    understands = ALL
    paths = EVERYTHING

    def __init__(self, supervisor, interval):
        self.supervisor = supervisor
        self.interval = interval

    def start(self, world, machine):
        fifo = world.lab.path("fifo")
        os.mkfifo(fifo)
        agent = [world.lab.probe, "hear", str(signal.SIGINT.value), fifo]
        options = ["--retire", "detach", "--notice-interval", f"{self.interval * 1000:.0f}ms"]
        options += ["--on-rebalance", "now", "--rebalance-min-age", "1s"]
        command = self.supervisor.wrap(agent, *options)
        run = world.lab.start(command, **{**world.aws.plain_env, **machine.env})
        return Signalled(run, fifo)


class Lifecycled:
    """buildkite/lifecycled. Without an SNS topic it watches for spot interruptions alone; with one
    it would hold a long poll of SQS as well."""

    understands = {"spot"}
    paths = (SPOT_TIME,)

    def __init__(self, program):
        self.program = program

    def start(self, world, machine):
        lab = world.lab
        fifo, handler = lab.path("fifo"), lab.path("handler")
        os.mkfifo(fifo)
        agent = subprocess.Popen(
            [lab.probe, "hear", str(signal.SIGTERM.value), fifo], stdin=subprocess.DEVNULL)
        handler.write_text(f"#!/bin/sh\nkill -TERM {agent.pid}\n")
        handler.chmod(0o700)
        run = lab.start([self.program, "--handler", handler], **machine.env)
        return Signalled(run, fifo, agent)


class NodeTerminationHandler:
    """aws/aws-node-termination-handler, watching all that it can, on a node with one pod."""

    understands = ALL
    paths = EVERYTHING

    def __init__(self, program):
        self.program = program

    def start(self, world, machine):
        kube = world.kube
        node = world.lab.path("node").name
        # It reads its service account at a fixed path: it gets a /run of its own.
        run_dir = kube.account.parents[2]
        alone = [shutil.which("unshare"), "--mount"]
        if os.geteuid() != 0:
            alone += ["--map-root-user"]
        mount = f'{shutil.which("mount")} --bind "$0" /run && exec "$@"'
        run = world.lab.start(
            [*alone, "/bin/sh", "-c", mount, run_dir, self.program],
            NODE_NAME=node,
            KUBERNETES_SERVICE_HOST="127.0.0.1",
            KUBERNETES_SERVICE_PORT=str(kube.port),
            INSTANCE_METADATA_URL=machine.url,
            ENABLE_ASG_LIFECYCLE_DRAINING="true",
            ENABLE_REBALANCE_DRAINING="true",
        )
        return Evicted(run, kube, node)


class Signalled:
    """A watcher whose agent writes to a FIFO that it is there, and then that it was signalled."""

    def __init__(self, run, fifo, agent=None):
        self.run = run
        self.agent = agent
        self.fifo = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)

    def wait_ready(self):
        self.told()

    def acted(self):
        """When the agent was signalled."""
        return self.told()

    def told(self):
        readable, _, _ = select.select([self.fifo], [], [], PATIENCE)
        time = os.read(self.fifo, 8) if readable else b""
        if len(time) != 8:
            raise RuntimeError(f"the agent told nothing: {self.run.log.read_text()}")
        return struct.unpack("q", time)[0]

    def end(self):
        os.close(self.fifo)
        self.run.end()
        if self.agent:
            self.agent.kill()
            self.agent.wait(PATIENCE)


class Evicted:
    """A watcher that has a pod evicted."""

    def __init__(self, run, kube, node):
        self.run = run
        self.kube = kube
        self.node = node

    def wait_ready(self):
        """It has no agent: it is as soon as it watches."""

    def acted(self):
        """When it was."""
        try:
            return self.kube.wait_evicted(self.node)
        except TimeoutError as never:
            raise RuntimeError(f"{never}: {self.run.log.read_text()}") from never

    def end(self):
        self.run.end()
