"""Stacks that a test may kill, freeze and damage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import Cli


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A stack with empty tables for the tests of a module."""
    made = Cli(tmp_path_factory.mktemp("stack") / "home")
    made("up")
    made("land", "--until-idle")  # makes the tables
    yield made
    made("down")
    assert made.processes() == []


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Cli]:
    """A stack with empty tables for one test."""
    made = Cli(tmp_path / "home", flush_seconds=1)
    made("up")
    made("land", "--until-idle")
    yield made
    made("down")
