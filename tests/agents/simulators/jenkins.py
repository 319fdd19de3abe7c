"""A Jenkins inbound agent: `java -jar agent.jar`, by the sources of jenkinsci/remoting (Engine.java,
Launcher.java) and of the durable-task plugin (BourneShellScript.java), both of 2026.

It says nothing of builds, which are the controller's: it is told to run steps. It handles no
signal, so SIGTERM ends the JVM at once, with status 143. A freestyle step is its child, in its own
process group; a durable one (`sh` of a pipeline) leaves its tree, so that it outlives the agent,
and is followed through a file.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

# The classes and the format are those of java.util.logging.
STAMP = "%b %d, %Y %I:%M:%S %p"


def main():
    options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    # As the JVM does: no handler of ours may delay it.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    status("Setting up agent: " + options["-name"], "createEngine")
    host, port = options["-direct"].split(":")
    channel = socket.create_connection((host, int(port)))
    status("Connected", "Launcher$CuiListener status")
    lock = threading.Lock()
    for line in channel.makefile("rb"):
        threading.Thread(target=run, args=(json.loads(line), channel, lock), daemon=True).start()
    status("Terminated", "Launcher$CuiListener status")
    return 0


def status(message, where):
    stamp = time.strftime(STAMP, time.localtime())
    print(f"{stamp} hudson.remoting.{where}\nINFO: {message}", file=sys.stderr, flush=True)


def run(step, channel, lock):
    environment = {**os.environ, "BUILD_TAG": f"jenkins-folder-job-{step['id']}",
                   "BUILD_ID": step["id"], "JENKINS_SERVER_COOKIE": "5e7f"}
    how = {"freestyle": freestyle, "durable": durable}[step["how"]]
    said = json.dumps({"id": step["id"], "code": how(step["script"], environment)})
    with lock:
        channel.sendall(said.encode() + b"\n")


def freestyle(script, environment):
    # Its output goes to the controller.
    return subprocess.call([script], env=environment, stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def durable(script, environment):
    """The plugin's own way: `nohup sh -c '(...) >&- 2>&- &'`, then the result's file is looked
    for."""
    environment["JENKINS_SERVER_COOKIE"] = "durable-0123456789abcdef"
    with tempfile.TemporaryDirectory(dir=os.path.dirname(script)) as control:
        result = os.path.join(control, "jenkins-result.txt")
        command = f"({script}; echo $? > {result}.tmp; mv {result}.tmp {result}) >&- 2>&- &"
        subprocess.check_call(["nohup", "sh", "-c", command], env=environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
        while not os.path.exists(result):
            time.sleep(0.05)
        with open(result) as code:
            return int(code.read())
