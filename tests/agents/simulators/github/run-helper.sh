#!/bin/bash
# Statuses as those of run-helper.sh of actions/runner 2.336: 2 starts the listener again.
dir=$(dirname "$(realpath "$0")")
"$dir/bin/Runner.Listener" run "$@"
status=$?
case $status in
    0) echo "Runner listener exit with 0 return code, stop the service, no retry needed."; exit 0 ;;
    1) echo "Runner listener exit with terminated error, stop the service, no retry needed."; exit 0 ;;
    2 | 3 | 4) exit 2 ;;
    *) echo "Exiting with unknown error code: $status"; exit 0 ;;
esac
