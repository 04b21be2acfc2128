#!/bin/sh
# Everything that is checked without running the product; types beside SQL.
set -eu
cd "$(dirname "$0")/.."
step() { echo "== $*" >&2; "$@"; }
work="$(mktemp -d)"
types=
trap 'test -z "$types" || kill "$types" 2>/dev/null || true; rm -rf "$work"' EXIT
step .venv/bin/ruff format --check --quiet .
step .venv/bin/ruff check --quiet .
{
    step .venv/bin/mypy
    step .venv/bin/lint-imports
    DBT_SEND_ANONYMOUS_USAGE_STATS=false DO_NOT_TRACK=1 step .venv/bin/dbt --quiet --warn-error parse --project-dir dbt --profiles-dir dbt --target-path "$work" --log-path "$work"
} >"$work/types" 2>&1 &
types=$!
found=0
for dialect in duckdb snowflake; do
    SQL_DIALECT=$dialect step .venv/bin/sqlfluff lint --nocolor --disable-progress-bar --dialect $dialect dbt/models dbt/data-tests || found=$?
done
wait "$types" || found=$?
types=
cat "$work/types" >&2
exit $found
