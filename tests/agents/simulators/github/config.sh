#!/bin/bash
# Like config.sh of actions/runner, which works in its own directory; only `remove` is simulated.
cd "$(dirname "$(realpath "$0")")" || exit 1
exec ./bin/Runner.Listener "$@"
