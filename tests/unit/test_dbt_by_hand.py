"""Which dbt commands that are run by hand change tables, and which variables they name."""

from __future__ import annotations

import json

import pytest

from playlake.settings import load_settings
from playlake.warehouse import by_hand, definition


@pytest.mark.parametrize(
    "arguments",
    [
        "run",
        "build --select silver_events",
        "run --full-refresh",
        "--debug run",
        "--log-level debug run",
        "--target-path docs run",
        "--no-partial-parse --log-format json seed",
        *("snapshot", "run-operation x", "retry", "clone --state y"),
    ],
)
def test_what_changes_tables(arguments: str) -> None:
    assert by_hand.changes_tables(arguments.split())


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "test",
        "test --select run",
        "compile",
        "ls --resource-type snapshot seed",
        "list",
        "show --select plays",
        "docs generate",
        "source freshness",
        "debug",
        "parse",
        "--version",
        "run --help",
        "nonsense",
    ],
)
def test_what_does_not(arguments: str) -> None:
    assert not by_hand.changes_tables(arguments.split())


TIME_ZONE, COUNTS = "DBT_PLAYLAKE_TIME_ZONE", "DBT_PLAYLAKE_COUNTS_AS_PLAY"


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (["run"], True),
        (["run", "--vars", json.dumps({"basket": "user"})], True),
        (["run", "--vars", json.dumps({"time_zone": "Asia/Tokyo"})], False),
        (["run", "--vars", "{time_zone: Asia/Tokyo}"], False),
        (["run", "--vars=time_zone: Asia/Tokyo"], False),
        (["run", "--vars", "{"], True),
        (["run", "--vars", "just words"], True),
        (["run", "--vars"], True),
    ],
)
def test_the_settings_count_but_where_vars_say_otherwise(arguments: list[str], settings: bool) -> None:
    made = load_settings(_env_file=None, time_zone="America/Los_Angeles", counts_as_play="30s")
    found = by_hand.variables(made, arguments)
    assert found.get(TIME_ZONE) == ("America/Los_Angeles" if settings else None)
    assert found[COUNTS] == "30s"
    assert set(found) <= set(definition.variables(made))
