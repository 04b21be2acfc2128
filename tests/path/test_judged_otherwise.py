"""Two writers that judge a message otherwise, since one is of another release: it lands once."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from playlake import failpoints
from playlake.lake import table
from playlake.lake.deliver import FencedError
from playlake.settings import Settings
from tests.support.judging import DOUBTFUL, GOOD, TOPIC, Member, Strict, dying_at, landed


@pytest.fixture
def judges(members: list[Member]) -> list[Member]:
    """The first is of a release that refuses what is doubtful."""
    members[0].landing._decoders[TOPIC] = Strict(TOPIC)
    return members


def test_files_that_may_have_been_pruned_meanwhile_are_not_committed(
    judges: list[Member], lake_settings: Settings
) -> None:
    """Who was frozen for long before its commit would name files that are gone."""
    one, _ = judges
    one.read(GOOD)
    with pytest.MonkeyPatch.context() as patch:

        def hit(at: str) -> None:
            if at == "before-commit":
                patch.setattr(table, "time", SimpleNamespace(**{**vars(time), "time": lambda: time.time() + 1900}))

        patch.setattr(failpoints, "hit", hit)
        with pytest.raises(FencedError, match="too old"):
            one.flush()
    assert landed(lake_settings)["bronze"] == []
    one.read(GOOD)
    one.flush()
    assert landed(lake_settings)["bronze"] == [(1, 0)]


def test_what_another_has_landed_is_not_buried(judges: list[Member], lake_settings: Settings) -> None:
    refuses, takes = judges
    refuses.read(GOOD, DOUBTFUL)
    takes.read(DOUBTFUL)
    takes.flush()
    with pytest.raises(FencedError):
        refuses.flush()
    assert landed(lake_settings) == {"bronze": [(0, 0)], "dead": []}
    refuses.read(GOOD, DOUBTFUL)
    refuses.flush()
    assert landed(lake_settings) == {"bronze": [(0, 0), (1, 0)], "dead": []}


@pytest.mark.parametrize("died_at", ["between-dead-letters-and-bronze", "before-dead-letters"])
def test_what_another_buries_is_not_landed(judges: list[Member], lake_settings: Settings, died_at: str) -> None:
    refuses, takes = judges
    refuses.read(GOOD, DOUBTFUL)
    takes.read(DOUBTFUL)
    with dying_at(died_at):
        refuses.flush()
    with pytest.raises(FencedError):
        takes.flush()
    takes.read(DOUBTFUL, GOOD)
    takes.flush()
    buried = died_at == "between-dead-letters-and-bronze"
    assert landed(lake_settings) == {"bronze": [(0, 0)] * (not buried) + [(1, 0)], "dead": [(0, 0)] * buried}


def test_who_froze_before_it_buried_does_so_no_more_once_another_has_looked(
    judges: list[Member], lake_settings: Settings
) -> None:
    refuses, takes = judges
    refuses.read(GOOD, DOUBTFUL)
    with pytest.MonkeyPatch.context() as patch:

        def hit(at: str) -> None:
            if at == "before-dead-letters":
                patch.undo()
                takes.read(DOUBTFUL)

        patch.setattr(failpoints, "hit", hit)
        with pytest.raises(FencedError):
            refuses.flush()
    assert landed(lake_settings) == {"bronze": [], "dead": []}
    takes.flush()
    assert landed(lake_settings) == {"bronze": [(0, 0)], "dead": []}
