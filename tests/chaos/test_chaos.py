"""A short run of `make chaos`, and that its check finds what is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.run import run
from tests.chaos.stacks import Stack

SEED = int(os.environ.get("CHAOS_SEED", "20261126"))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("chaos"), SEED) as made:
        yield made


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_writers_that_die_and_freeze_lose_and_double_nothing(stack: Stack, tmp_path: Path) -> None:
    done = run(stack, tmp_path, seed=SEED, kills=15, rate=80, stall_s=4.0)
    print(done.markdown())
    assert done.kills >= 15
    assert done.acknowledged > 500
    assert done.bad > 5
    assert set(done.verified.values()) - {done.verified["files"]} == {0}
