#!/bin/sh
# One of the suites, after its environment has been made: `scripts/test.sh quick|systems|faults`. Arguments go to pytest;
# where none of them names tests, they go to all tests of the suite.
set -eu
cd "$(dirname "$0")/.."
unset PYTHONDONTWRITEBYTECODE # the tests start hundreds of processes: what one has compiled is there for the next
suite="${1:-}"
[ $# -eq 0 ] || shift
named=
for argument in "$@"; do
    case "$argument" in tests | tests/* | */tests/*) named=yes ;; esac
done
tests() { [ -n "$named" ] || echo "$@"; }
pytest() { .venv/bin/python -m pytest -n 2 --dist loadfile "$@"; }
case "$suite" in
    quick)
        if [ $# -gt 0 ]; then pytest $(tests tests/unit tests/models tests/contract tests/path) "$@"; exit; fi
        scripts/lint.sh
        pytest tests/unit # first: a broken unit shows within two minutes
        pytest tests/models tests/contract tests/path
        ;;
    systems)
        export TEST_CONTAINERS="${TEST_CONTAINERS:-required}" # without Docker this suite fails, and skips nothing
        containers="tests/contract tests/systems/containers"
        rest="tests/systems/orchestration tests/systems/test_*.py tests/systems/browser"
        if [ $# -gt 0 ]; then pytest --stack containers $(tests $containers $rest) "$@"; exit; fi
        # Containers first and alone: each that starts or ends changes the machine's network, and Chromium then gives up
        # what it is loading.
        .venv/bin/python -m pytest --stack containers $containers
        pytest --no-loadscope-reorder $rest
        ;;
    faults) .venv/bin/python -m pytest -o timeout=1800 $(tests tests/faults) "$@" ;;
    *) echo "test.sh: say quick, systems or faults" >&2; exit 2 ;;
esac
