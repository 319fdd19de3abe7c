"""Container engines that this machine can run, and one image for them.

An engine that is installed but does not run is set up here: Docker's daemon is started with a
directory of its own, and podman told to be content with what this machine allows. The image has
nothing in it; the machine's own /usr is mounted into its containers.
"""

import io
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

# In seconds.
PATIENCE = 60
# Without the right to raise limits, podman's own defaults cannot be set.
CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "{runtime}"
"""


class CannotRun(Exception):
    """Why there is no such engine here."""


class Engine:
    """`env` is what its client needs in its environment."""

    def __init__(self, client, env):
        self.client = client
        self.env = env
        # Its own, so that its containers are told from other people's.
        self.label = f"clockout-tests={os.getpid()}-{time.monotonic_ns()}"
        self.image = "clockout-tests/" + self.label.replace("=", ":")

    def ask(self, *words, **about):
        """Runs its client; returns what it printed."""
        done = subprocess.run([self.client, *words], env={**os.environ, **self.env},
                              capture_output=True, timeout=PATIENCE, **about)
        if done.returncode != 0:
            raise CannotRun(f"{self.client} {words[0]}: {done.stderr.decode().strip()}")
        return done.stdout.decode()

    def prepare(self):
        """Loads the image, and proves that a container runs."""
        self.ask("import", "-", self.image, input=empty_root())
        self.ask("run", "--rm", *self.options(), self.image, "/bin/true")

    def options(self):
        """Of `run`, for each container."""
        return ["--label", self.label, "--network", "host", "--volume", "/usr:/usr:ro"]

    def running(self):
        """Ids of the containers that run."""
        return self.list()

    def all(self):
        """Also those that do not run."""
        return self.list("--all")

    def list(self, *options):
        ours = f"label={self.label}"
        return self.ask("ps", "--quiet", "--no-trunc", "--filter", ours, *options).split()

    def remove_containers(self):
        for container in self.all():
            subprocess.run([self.client, "rm", "--force", container], capture_output=True,
                           env={**os.environ, **self.env}, timeout=PATIENCE)

    def clean_up(self):
        """Removes the containers and the image, as far as they are there."""
        try:
            self.remove_containers()
            self.ask("rmi", self.image)
        except CannotRun:
            pass


class Docker(Engine):
    """The machine's daemon, where there is one, else one of its own."""

    def __init__(self):
        client = shutil.which("docker")
        if not client:
            raise CannotRun("docker is not installed")
        super().__init__(client, {})
        self.daemon = None
        self.dir = Path(tempfile.mkdtemp(prefix="clockout-dockerd-"))
        try:
            if not self.answers():
                self.start()
            self.prepare()
        except CannotRun:
            self.end()
            raise

    def answers(self):
        try:
            return self.ask("version")
        except CannotRun:
            return None

    def start(self):
        program = shutil.which("dockerd", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        if not program or os.getuid() != 0:
            raise CannotRun("Docker's daemon does not run, and cannot be started without root")
        self.env["DOCKER_HOST"] = f"unix://{self.dir}/socket"
        with open(self.dir / "log", "wb") as log:
            self.daemon = subprocess.Popen(
                [program, "--iptables=false", "--ip6tables=false", "--bridge=none",
                 "--storage-driver=vfs", f"--data-root={self.dir}/data",
                 f"--exec-root={self.dir}/exec", f"--pidfile={self.dir}/pid",
                 f"--host={self.env['DOCKER_HOST']}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        give_up = time.monotonic() + PATIENCE
        while not self.answers():
            if self.daemon.poll() is not None or time.monotonic() > give_up:
                said = (self.dir / "log").read_text(errors="replace")
                raise CannotRun("dockerd does not run: " + said[-500:])
            time.sleep(0.1)

    def end(self):
        if self.daemon is None or self.daemon.poll() is None:
            self.clean_up()
        if self.daemon:
            self.daemon.send_signal(signal.SIGTERM)
            self.daemon.wait(PATIENCE)
        remove(self.dir)


class Podman(Engine):
    """With a storage of its own."""

    def __init__(self):
        client = shutil.which("podman")
        if not client:
            raise CannotRun("podman is not installed")
        self.dir = Path(tempfile.mkdtemp(prefix="clockout-podman-"))
        storage = self.dir / "storage.conf"
        storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{self.dir}/data"\n'
                           f'runroot = "{self.dir}/run"\n')
        super().__init__(client, {"CONTAINERS_STORAGE_CONF": str(storage)})
        why = CannotRun("neither crun nor runc is installed")
        for runtime in filter(shutil.which, ("crun", "runc")):
            config = self.dir / "containers.conf"
            config.write_text(CONTAINERS_CONF.format(runtime=runtime))
            self.env["CONTAINERS_CONF"] = str(config)
            try:
                return self.prepare()
            except CannotRun as error:
                why = error
        self.end()
        raise why

    def end(self):
        self.clean_up()
        remove(self.dir)


def remove(directory):
    """Engines leave things mounted: Docker the network of containers on the machine's own."""
    with open("/proc/mounts") as mounts:
        paths = [line.split()[1] for line in mounts]
    for path in paths:
        if path.startswith(f"{directory}/"):
            subprocess.run(["umount", "--lazy", path], check=True)
    shutil.rmtree(directory, ignore_errors=True)


def empty_root():
    """As a tar file: links into /usr, and places to mount at."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name in ("usr", "tmp", "proc", "sys", "dev", "etc"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name in ("bin", "sbin", "lib", "lib64"):
            if os.path.islink("/" + name):
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink("/" + name)
                tar.addfile(entry)
    return file.getvalue()
