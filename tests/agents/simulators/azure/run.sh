#!/bin/bash
# Signals and exit statuses as those of run.sh of azure-pipelines-agent 4.278: the listener runs in
# the foreground, and gets no signal that is sent to this shell. Status 4 is an update.
dir=$(dirname "$(realpath "$0")")
"$dir/bin/Agent.Listener" run "$@"
status=$?
if [ $status -eq 4 ]; then
    exec "$dir/bin/Agent.Listener" run "$@"
fi
exit $status
