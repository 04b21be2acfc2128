#!/bin/sh
# Airflow standalone with the DAGs, on the embedded stack: `make airflow`.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/python orchestration/standalone.py
