#!/bin/sh
# Make .venv and install what is locked: `scripts/bootstrap.sh run` or `scripts/bootstrap.sh dev`; with `airflow`, make
# .venv-airflow, which is Airflow's alone. Needs Python 3.11 to 3.13 and nothing else. Run again, it does only what has
# changed.
set -eu
cd "$(dirname "$0")/.."
what="${1:-run}"
env=.venv
case "$what" in run) lock=requirements.lock ;; dev) lock=requirements-dev.lock ;;
    airflow) lock=orchestration/requirements.lock; env=.venv-airflow ;;
    *) echo "bootstrap: say run, dev or airflow" >&2; exit 2 ;; esac

fail() { echo "playlake: $*" >&2; exit 1; }

case "$(uname -s)-$(uname -m)" in
    Linux-x86_64 | Linux-aarch64 | Darwin-arm64 | Darwin-x86_64) ;;
    *) fail "the embedded servers exist for Linux and macOS on x86-64 and arm64, not for $(uname -s) $(uname -m). Elsewhere the containers (Compose) are the way: make up." ;;
esac

usable() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

if [ ! -x $env/bin/python ] || ! usable $env/bin/python; then
    python=""
    for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3 python; do
        if command -v "$candidate" >/dev/null 2>&1 && usable "$candidate"; then python="$candidate"; break; fi
    done
    [ -n "$python" ] || fail "Python 3.11, 3.12 or 3.13 is needed and was not found. Install it, or name one: make demo PYTHON=/path/to/python3.12"
    echo "playlake: making $env with $("$python" --version)" >&2
    rm -rf $env
    "$python" -m venv $env >.bootstrap.log 2>&1 || fail "$python can't make a virtual environment (on Debian: apt install python3-venv): $(tail -n 1 .bootstrap.log)"
    rm -f .bootstrap.log
fi

# What is installed is named by the checksum of what it was installed from.
stamp="$(cat requirements-bootstrap.lock "$lock" pyproject.toml | cksum | tr ' ' '-')"
[ "$what" = run ] && [ "$(cat .venv/.dev-of 2>/dev/null || true)" = "$(cksum < requirements.lock)" ] && exit 0
[ "$(cat "$env/.$what" 2>/dev/null || true)" = "$stamp" ] && exit 0

echo "playlake: installing the locked requirements ($what); the first time this downloads several hundred MB" >&2
$env/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bootstrap.lock \
    || fail "pip could not install the installer; see above. Check the network and run this again."
# uv does not read pip's configuration; a mirror set there is to be used all the same.
index="$($env/bin/python -m pip config get global.index-url 2>/dev/null || true)"
[ -z "$index" ] || [ -n "${UV_DEFAULT_INDEX:-}" ] || export UV_DEFAULT_INDEX="$index"
# Where Python may not keep what it has compiled, each process would compile thousands of files anew: half of its start.
compile="${PYTHONDONTWRITEBYTECODE:+--compile-bytecode}"
UV_PYTHON_DOWNLOADS=never $env/bin/uv pip install --quiet --python $env/bin/python --require-hashes $compile -r "$lock" \
    || fail "the locked requirements could not be installed; see above. Check the network and run this again."
if [ "$what" != airflow ]; then
    .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation -e . \
        || fail "playlake itself could not be installed; see above."
fi
echo "$stamp" > "$env/.$what"
if [ "$what" = dev ]; then cksum < requirements.lock > .venv/.dev-of; fi
