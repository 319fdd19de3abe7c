"""Jenkins' inbound agent. Remoting is on Jenkins' own repository only: simulated."""

from driver import Driver
from servers.jenkins import NODE, TOKEN, USER, Controller
from simulators import install

SAMPLED = "builds are seen by asking once a second: shorter ones can be missed"


class Jenkins(Driver):
    """Builds of one `sh` step of a pipeline, which leaves the agent's tree."""

    name = "jenkins pipeline"
    preset = "jenkins"
    drains = "wait-idle"
    outcomes = False
    # The JVM's, of SIGTERM.
    exit_status = 143
    unsupported = {"count": SAMPLED, "max-jobs": SAMPLED}
    steps = ("durable",)

    def setup(self):
        self.java = self.bed.dir / "bin" / "java"
        install.program("jenkins", self.java)
        self.server = Controller(self.slots)

    def command(self):
        return [self.java, "-jar", "/opt/jenkins/agent.jar", "-name", NODE,
                "-direct", self.server.channel]

    def env(self):
        return {"CLOCKOUT_JENKINS_NODE": f"http://{self.server.address}/computer/{NODE}",
                "CLOCKOUT_JENKINS_USER": USER, "CLOCKOUT_JENKINS_TOKEN": TOKEN}

    def options(self):
        return ["--slots", str(self.slots)]

    def offer(self, job):
        self.server.offer(job, *self.steps)


class JenkinsFreestyle(Jenkins):
    name = "jenkins freestyle"
    slots = (1,)
    steps = ("freestyle",)
