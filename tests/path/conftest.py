"""The quick suite's patience with an idle log; two writers without Kafka."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from playlake.lake.writer import Writer
from playlake.settings import Settings
from tests.support.judging import Member


@pytest.fixture(autouse=True)
def short_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """`land --until-idle` looks at an idle log for 0.2 s instead of 1 s: nobody produces beside it here."""
    assert Writer.run.__kwdefaults__
    monkeypatch.setitem(Writer.run.__kwdefaults__, "idle_s", 0.2)


@pytest.fixture
def members(lake_settings: Settings) -> Iterator[list[Member]]:
    """Two writers of one lake."""
    made = [Member(lake_settings) for _ in range(2)]
    yield made
    for member in made:
        member.landing.close()
