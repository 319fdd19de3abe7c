"""The JVMs of a TeamCity agent, by what its bin/agent.sh of 2024 and published logs show.

agent.sh starts the launcher, that starts the agent, that starts the processes of builds. The agent
writes its log to logs/teamcity-agent.log and where it listens to logs/buildAgent.xmlRpcPort;
`agent.sh stop` tells it over that port to stop when its build is over, `stop force` to cancel it.
What the log says of builds is not published, so this one says nothing.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from dotnet import Call

HOME = Path(sys.argv[0]).resolve().parent.parent
PORT_FILE = HOME / "logs" / "buildAgent.xmlRpcPort"
# A build's second step, in seconds. Who looks once a second sees it.
SLOW_STEP = ["sleep", "1.5"]
CLASS = "jetbrains.buildServer.agent."


def main():
    # java -cp JAR CLASS [ARGUMENT]
    wanted, argument = sys.argv[3], "".join(sys.argv[4:5])
    return {CLASS + "Launcher": launch, CLASS + "Stop": lambda: stop(argument),
            CLASS + "AgentMain": lambda: Agent().run()}[wanted]()


def launch():
    return subprocess.call([sys.argv[0], "-cp", "../lib/agent.jar", CLASS + "AgentMain"])


def stop(how):
    try:
        port = int(PORT_FILE.read_text())
        with socket.create_connection(("127.0.0.1", port)) as agent:
            agent.sendall(json.dumps(how or "graceful").encode() + b"\n")
        return 0
    except (OSError, ValueError):
        return 1


class Agent:
    def __init__(self):
        self.call = Call(json.loads((HOME / "simulator.json").read_text())["server"])
        self.stopping = False
        self.cancelled = False
        self.step = None

    def run(self):
        (HOME / "logs").mkdir(exist_ok=True)
        listener = socket.create_server(("127.0.0.1", 0))
        PORT_FILE.write_text(str(listener.getsockname()[1]))
        threading.Thread(target=self.listen, args=(listener,), daemon=True).start()
        log("   jetbrains.buildServer.AGENT", "Build agent started")
        log("buildServer.AGENT.registration",
            "Registered on server with id 1 and authorization token 'c0ffee'")
        while not self.stopping:
            job = self.poll()
            if job and not self.stopping and self.call("/acquire", id=job["id"])[0] == 200:
                self.build(job)
        self.call("/leave")
        PORT_FILE.unlink()
        return 0

    def poll(self):
        """A word to stop does not wait for the answer."""
        answers = []
        asks = threading.Thread(target=lambda: answers.append(self.call("/poll")), daemon=True)
        asks.start()
        while asks.is_alive() and not self.stopping:
            asks.join(0.05)
        status, job = answers[0] if answers else (0, None)
        if status == 0:
            time.sleep(0.05)
        return job

    def build(self, job):
        environment = {**os.environ, "TEAMCITY_VERSION": "2024.03", "BUILD_NUMBER": job["id"],
                       "TEAMCITY_BUILDCONF_NAME": "build"}
        code = 0
        for step in [job["script"]], SLOW_STEP:
            if code == 0 and not self.cancelled:
                # Its output goes to the server.
                self.step = subprocess.Popen(
                    step, env=environment, stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                code = self.step.wait()
        outcome = "canceled" if self.cancelled else "failed" if code else "passed"
        self.call("/finish", id=job["id"], outcome=outcome)

    def listen(self, listener):
        while True:
            connection, _ = listener.accept()
            with connection:
                how = json.loads(connection.makefile().readline() or '""')
            if how == "force":
                self.cancelled = True
                if self.step and self.step.poll() is None:
                    self.step.send_signal(signal.SIGTERM)
            if how:
                self.stopping = True


def log(category, message):
    """As the agent's log4j pattern."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime())
    with open(HOME / "logs" / "teamcity-agent.log", "a") as file:
        file.write(f"[{stamp},000]   INFO - {category} - {message} \n")
