#!/bin/sh
# Everything that is checked without running the product.
set -eu
cd "$(dirname "$0")/.."
step() { echo "== $*" >&2; "$@"; }
step .venv/bin/ruff format --check --quiet .
step .venv/bin/ruff check --quiet .
step .venv/bin/mypy
step .venv/bin/lint-imports
for dialect in duckdb snowflake; do
    SQL_DIALECT=$dialect step .venv/bin/sqlfluff lint --nocolor --disable-progress-bar --dialect $dialect dbt/models dbt/data-tests
done
target="$(mktemp -d)"
trap 'rm -rf "$target"' EXIT
DBT_SEND_ANONYMOUS_USAGE_STATS=false DO_NOT_TRACK=1 step .venv/bin/dbt --quiet --warn-error parse --project-dir dbt --profiles-dir dbt --target-path "$target" --log-path "$target"
