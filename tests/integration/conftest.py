"""One running stack for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import Cli


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A stack with empty tables, that the tests of a module share and that they may kill."""
    made = Cli(tmp_path_factory.mktemp("stack") / "home")
    made("up")
    made("land", "--until-idle")  # makes the tables
    yield made
    made("down")
    assert made.processes() == []


@pytest.fixture(autouse=True)
def nothing_runs_on() -> Iterator[None]:
    """A test that fails leaves no command running for the next to trip over."""
    yield
    while Cli.started:
        process = Cli.started.pop()
        process.kill()
        with process:  # closes its pipes
            pass
