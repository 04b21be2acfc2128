#!/bin/sh
# One of the suites, after its environment has been made: `scripts/test.sh quick|systems|faults`. Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
unset PYTHONDONTWRITEBYTECODE # the tests start hundreds of processes: what one has compiled is there for the next
suite="$1"
shift
pytest() { .venv/bin/python -m pytest -n 2 --dist loadfile "$@"; }
case "$suite" in
    quick)
        if [ $# -gt 0 ]; then pytest "$@"; exit; fi
        scripts/lint.sh
        pytest tests/unit # first: a broken unit shows within two minutes
        pytest tests/models tests/contract tests/path
        ;;
    systems)
        if [ $# -gt 0 ]; then pytest "$@"; exit; fi
        # Containers first and alone: each that starts or ends changes the machine's network, and Chromium then gives up
        # what it is loading.
        .venv/bin/python -m pytest --stack containers tests/contract tests/systems/containers
        pytest --no-loadscope-reorder tests/systems/orchestration tests/systems/test_*.py tests/systems/browser
        ;;
    faults) .venv/bin/python -m pytest -o timeout=1800 "${@:-tests/faults}" ;;
    *) echo "test.sh: say quick, systems or faults" >&2; exit 2 ;;
esac
