"""Stacks of a module's own."""

from __future__ import annotations

from collections.abc import Iterator

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
