#!/bin/sh
# As TeamCity's own bin/agent.sh: `run` stays in the foreground, but does not exec. A signal ends
# the script alone, and the agent below it goes on.
cd "$(dirname "$0")" || exit 1
case "$1" in
run)
    echo "Starting TeamCity build agent..."
    ./java -cp ../launcher/lib/launcher.jar jetbrains.buildServer.agent.Launcher
    ;;
stop)
    echo "Stopping TeamCity build agent..."
    if ! ./java -cp ../launcher/lib/launcher.jar jetbrains.buildServer.agent.Stop "$2"; then
        echo "Cannot stop agent gracefully, you can try to kill agent by '$0 stop kill' command"
        exit 1
    fi
    ;;
*) exit 1 ;;
esac
exit 0
