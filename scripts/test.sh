#!/bin/sh
# What `make test` runs, after its environment has been made. Arguments go to pytest.
# The files run beside each other in five processes: most tests wait for servers. One: make test ARGS="-n 0".
set -eu
cd "$(dirname "$0")/.."
unset PYTHONDONTWRITEBYTECODE # the tests start thousands of processes: what one has compiled is there for the next
scripts/lint.sh
.venv/bin/python -m pytest -n 5 --dist loadfile --no-loadscope-reorder "$@"
