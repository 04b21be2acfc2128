"""Stacks of a module's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.commands import Cli
from tests.support.fixtures import stack_with_tables


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A stack with empty tables for the tests of a module."""
    with stack_with_tables(tmp_path_factory.mktemp("stack") / "home") as made:
        yield made
