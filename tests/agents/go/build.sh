#!/bin/sh
# `build.sh OUTDIR` builds the real CI agents that are written in Go, the fake servers that speak
# their protocols, and AWS's mock of the instance metadata service. Each directory here with a
# go.mod is a module of its own, so that each program gets the dependencies of its release; it
# builds the `tool` lines of its go.mod:
#     tool PACKAGE // NAME
# What was built from the same sources is left alone. Needs go 1.26; takes minutes the first time.
set -eu
out="$(mkdir -p "$1" && cd "$1" && pwd)"
cd "$(dirname "$0")"

all_exist() {
    for name in "$@"; do
        [ -x "$out/$name" ] || return 1
    done
}

for module in */go.mod; do
    dir="$(dirname "$module")"
    names="$(sed -n 's|^tool .* // *||p' "$module")"
    [ -n "$names" ] || continue
    sources="$(find "$dir" zzglob -type f | sort | xargs sha256sum | sha256sum)"
    stamp="$out/.$dir.built"
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$sources" ] && all_exist $names; then
        continue
    fi
    sed -n 's|^tool \(.*\) // *\(.*\)|\1 \2|p' "$module" | while read -r package name; do
        echo "building $name"
        (cd "$dir" && GOFLAGS=-mod=readonly nice go build -trimpath \
            -ldflags '-s -w' -o "$out/$name" "$package")
    done
    printf '%s\n' "$sources" > "$stamp"
done
