#!/bin/bash
# Signals and exit statuses as those of run.sh of actions/runner 2.336: without
# RUNNER_MANUALLY_TRAP_SIG it dies of a signal alone; with it, the helper's whole process group
# gets SIGINT, and the status is that of the interrupted wait, 128 and the signal.
dir=$(dirname "$(realpath "$0")")

if [ -z "$RUNNER_MANUALLY_TRAP_SIG" ]; then
    while true; do
        "$dir/run-helper.sh" "$@"
        [ $? -eq 2 ] || break
        echo "Restarting runner..."
    done
    echo "Exiting runner..."
    exit 0
fi

set -m
trap 'kill -INT -$helper' INT TERM
while true; do
    "$dir/run-helper.sh" "$@" &
    helper=$!
    wait $helper
    status=$?
    [ $status -eq 2 ] || break
    echo "Restarting runner..."
done
echo "Exiting runner..."
trap - INT TERM
wait $helper
exit $status
