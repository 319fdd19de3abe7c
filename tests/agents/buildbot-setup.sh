#!/bin/sh
# Installs a Buildbot master with its web server and a worker from PyPI, and makes an empty
# master's database, under ${XDG_CACHE_HOME:-~/.cache}/clockout-tests/buildbot. Safe to repeat.
set -eu

BUILDBOT='buildbot==4.3.0 buildbot-www==4.3.0 buildbot-worker==4.3.0'

venv="${XDG_CACHE_HOME:-$HOME/.cache}/clockout-tests/buildbot"
stamp="$venv/installed"

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$BUILDBOT" ]; then
    echo "$BUILDBOT are installed in $venv"
    exit 0
fi
rm -rf "$venv"
python3 -m venv "$venv"
# Three words.
# shellcheck disable=SC2086
"$venv/bin/pip" install --quiet --disable-pip-version-check $BUILDBOT
"$venv/bin/buildbot" create-master --quiet "$venv/master"
printf '%s\n' "$BUILDBOT" > "$stamp"
echo "$BUILDBOT are installed in $venv"
