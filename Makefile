# `make` alone prints this file's help, made from the lines that have two number signs.
.DEFAULT_GOAL := help
.PHONY: help install demo build docs up down logs airflow test test-systems test-faults mutants model chaos soak lint format lock configuration bench bench-clone bench-warehouse bench-writer bench-recovery bench-recommendations bench-small-files bench-verify clean
SHELL := /bin/sh
ARGS ?=
HISTORY ?=
TARGET =
PLAYLAKE := .venv/bin/playlake
UV := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

help: ## Show this help
	@echo "playlake: a listening lakehouse that runs whole on a laptop"; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-21s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo; echo "  make up PROFILES=orchestration,ui    with Airflow instead of the builder, with Redpanda's console"
	@echo "  make demo HISTORY=path/to/export     your own Spotify account export: folder, files or zip"
	@echo "  make demo ARGS=--no-serve            end by itself instead of serving until Ctrl-C"

install: ## Make .venv and install what is locked
	@scripts/bootstrap.sh run

demo: install ## The whole path: servers, listening in, lake, dbt, API and dashboard
	@$(PLAYLAKE) demo $(if $(HISTORY),--history "$(HISTORY)") $(ARGS)

build: install ## dbt and its tests on the lake as it is, then publish; TARGET=cloud builds on Snowflake
	@$(PLAYLAKE) build $(if $(TARGET),--target $(TARGET)) $(ARGS)

docs: install ## dbt's documentation of every model and column, served on 127.0.0.1 until Ctrl-C
	@$(PLAYLAKE) docs $(ARGS)

up: ## Start the containers' stack (Docker): Redpanda, MinIO, Redis, all services; ends when the dashboard shows data
	@$(if $(PROFILES),PROFILES="$(PROFILES)") scripts/stack.sh up

down: ## Stop the containers' stack; the data stays
	@scripts/stack.sh down

logs: ## Follow the containers' logs
	@scripts/stack.sh logs

airflow: install ## Airflow with the DAGs on the embedded stack, until Ctrl-C; prints its address and login
	@scripts/bootstrap.sh airflow
	@scripts/airflow.sh

test: ## Lint, types, import rules, dbt parse, and the quick tests on the embedded stack (CONTRIBUTING.md)
	@scripts/bootstrap.sh dev
	@scripts/bootstrap.sh airflow
	@scripts/test.sh quick $(ARGS)

test-systems: ## Containers, make up and make down, DAGs run by Airflow, the pages in Chromium; needs Docker
	@scripts/bootstrap.sh dev
	@scripts/bootstrap.sh airflow
	@scripts/test.sh systems $(ARGS)

test-faults: ## Kills, freezes, full disks, broken networks, several writers, a short chaos run (docs/faults.md)
	@scripts/bootstrap.sh dev
	@scripts/bootstrap.sh airflow
	@scripts/test.sh faults $(ARGS)

mutants: ## Put known faults into the product, one at a time: the quick suite must find each (docs/testing.md)
	@scripts/bootstrap.sh dev
	@.venv/bin/python tests/mutants.py $(ARGS)

model: ## The writer's model under 100,000 drawn schedules (SCHEDULES=…), a quarter of an hour
	@scripts/bootstrap.sh dev
	@MODEL_SCHEDULES=$(or $(SCHEDULES),100000) .venv/bin/python -m pytest -n 0 -q -s -o timeout=0 tests/unit/test_exactly_once.py

chaos: ## Writers killed and frozen while all around them fails (SEED=…, KILLS=500, STACK=embedded|kafka; docs/chaos.md)
	@scripts/bootstrap.sh dev
	@PYTHONPATH=. .venv/bin/python -m tests.faults.chaos.run --kills $(or $(KILLS),500) --stack $(or $(STACK),embedded) $(if $(SEED),--seed $(SEED)) $(ARGS)

soak: ## 48 simulated hours of the DAGs' commands under kills, gold beside a rebuild (ARGS="--cycles 6"; docs/chaos.md)
	@scripts/bootstrap.sh dev
	@PYTHONPATH=. .venv/bin/python bench/soak.py $(ARGS)

lint: ## Lint, types, import rules and dbt parse only
	@scripts/bootstrap.sh dev
	@scripts/lint.sh

format: ## Format the Python code
	@scripts/bootstrap.sh dev
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

# One after the other, also past one that misses a limit; the whole then ends with an error.
bench: ## Measure everything anew (two hours; docs/benchmarks.md); fails in the end where a limit is missed
	@$(MAKE) --no-print-directory --keep-going --jobs=1 bench-warehouse bench-writer bench-recovery bench-recommendations bench-small-files bench-verify bench-clone

bench-clone: ## Measure make demo and make test in a fresh clone
	@bench/fresh_clone.sh

bench-warehouse: ## Measure builds of 1, 5 and 20 million plays, and similarity beside implicit (ARGS="1 5" for less)
	@scripts/bootstrap.sh dev
	@PYTHONPATH=. .venv/bin/python bench/warehouse.py $(ARGS)
	@PYTHONPATH=. .venv/bin/python bench/similarity.py $(ARGS)

bench-writer: ## Measure the lake writer beside Quix Streams, a plain loop and bare librdkafka (ARGS="--only bare ours")
	@scripts/bootstrap.sh dev
	@PYTHONPATH=. .venv/bin/python bench/writer.py $(ARGS)

bench-recovery: ## Measure how soon the lag is 0 again after kill -9 of the writer under 1,000 plays a second
	@scripts/bootstrap.sh dev
	@PYTHONPATH=. .venv/bin/python bench/recovery.py $(ARGS)

bench-recommendations: ## Measure the quality of recommendations beside popularity and implicit (docs/benchmarks.md)
	@scripts/bootstrap.sh dev
	@PYTHONPATH=. .venv/bin/python bench/recommendations.py $(ARGS)

bench-small-files: ## Measure scans of a day of small files before and after compaction, beside one hand-made file
	@scripts/bootstrap.sh dev
	@PYTHONPATH=. .venv/bin/python bench/small_files.py $(ARGS)

bench-verify: ## Measure playlake lake verify of a million rows, and where the time goes
	@scripts/bootstrap.sh dev
	@PYTHONPATH=. .venv/bin/python bench/verify.py $(ARGS)

lock: install ## Resolve the requirements anew
	@$(UV) pyproject.toml --extra embedded -o requirements.lock
	@$(UV) pyproject.toml -c requirements.lock -o requirements-service.lock
	@$(UV) requirements-bootstrap.in -c requirements.lock -o requirements-bootstrap.lock
	@$(UV) orchestration/requirements.in -o orchestration/requirements.lock
	@$(UV) pyproject.toml --extra embedded --extra dev -c requirements.lock -o requirements-dev.lock

configuration: install ## Write .env.example and docs/configuration.md from the settings
	@.venv/bin/python scripts/configuration.py

clean: ## Stop the embedded stack and remove its data and the environment
	@[ ! -x $(PLAYLAKE) ] || $(PLAYLAKE) down
	@rm -rf .playlake .venv .venv-airflow .venv-bench dbt/target dbt/logs
