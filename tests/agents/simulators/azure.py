"""Agent.Listener and Agent.Worker of microsoft/azure-pipelines-agent 4.278, by the name it is
started under.

Lines: strings.json of each language, chosen by the locale as ICU does: LC_ALL, LC_MESSAGES, LANG.
"""

import os
import sys

import dotnet
from dotnet import stamp

# listening, running, completed, exiting
ENGLISH = ("{0}: Listening for Jobs", "{0}: Running job: {1}",
           "{0}: Job {1} completed with result: {2}", "Exiting...")
LANGUAGES = {
    "de": ("{0}: Auf Aufträge lauschen", "{0}: {1} wird ausgeführt",
           "{0}: Der Auftrag „{1}“ wurde mit folgendem Ergebnis abgeschlossen: {2}",
           "Wird beendet..."),
    "fr": ("{0} : à l’écoute des travaux", "{0} : travail en cours d’exécution : {1}",
           "{0} : le travail {1} est terminé avec le résultat : {2}", "Sortie..."),
}


class Lines:
    def __init__(self):
        locale = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "C")
        self.words = LANGUAGES.get(locale[:2], ENGLISH)

    def listening(self):
        return "Scanning for tool capabilities.", "Connecting to the server.", \
            self.words[0].format(stamp())

    def running(self, name):
        return self.words[1].format(stamp(), name)

    def completed(self, name, result):
        return self.words[2].format(stamp(), name, result)

    def exiting(self):
        return self.words[3]

    def removed(self):
        return f"{stamp()}: The agent was removed."


def main():
    program = os.path.basename(sys.argv[0])
    if program == "Agent.Worker":
        return dotnet.work()
    sys.stdout.reconfigure(encoding="utf-8")
    settings = dotnet.settings(sys.argv[0])
    worker = os.path.join(os.path.dirname(sys.argv[0]), "Agent.Worker")
    return dotnet.Listener(settings["server"], worker, Lines(), "--once" in sys.argv).run()
