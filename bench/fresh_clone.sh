#!/bin/bash
# Seconds of `make demo ARGS=--no-serve` and `make test` in a fresh clone, first and second time, as Markdown rows.
# Packages may come from the installers' own caches; the clone's .venv and .playlake begin empty.
set -euo pipefail
cd "$(dirname "$0")/.."
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
git clone -q . "$work/clone"
cd "$work/clone"
seconds() {
    local started ended
    started=$(date +%s.%N)
    if ! "$@" >"$work/log" 2>&1; then tail -n 30 "$work/log" >&2; return 1; fi
    ended=$(date +%s.%N)
    awk -v a="$started" -v b="$ended" 'BEGIN {printf "%.0f", b - a}'
}
echo "| command | first | second |"
echo "|---|---:|---:|"
for command in "demo ARGS=--no-serve" ${1:-test}; do
    # shellcheck disable=SC2086 # the words of a command
    first=$(seconds make $command); second=$(seconds make $command)
    echo "| \`make $command\` | $first s | $second s |"
done
