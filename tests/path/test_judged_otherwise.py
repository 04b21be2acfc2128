"""Two writers that judge a message otherwise, since one knows a column that the other does not: it lands once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from deltalake import DeltaTable

from playlake import events, failpoints
from playlake.lake import table, tables
from playlake.lake.core import Core, Limits
from playlake.lake.deliver import FencedError
from playlake.lake.landing import Landing
from playlake.lake.options import storage_options
from playlake.records import Run
from playlake.settings import Settings
from tests.support.messages import play

TOPIC = events.PLAYS
FIRST, SECOND = (TOPIC, 0), (TOPIC, 1)
LAZY = Limits(rows=10**9, catchup_rows=10**9, bytes=10**9, seconds=10**9)


def message(partition: int, tags: object) -> Run:
    """The first message of a partition: an event with a field that is not its own."""
    value = json.dumps(play(tags=tags)).encode()
    return Run.of(TOPIC, partition, [0], [int(time.time() * 1000)], [None], [value])


LISTED, TEXT = message(0, ["calm"]), message(1, "calm")
"""The list is kept in ``extra`` while there is no column ``tags``. Of the one that the text makes it is no value."""


class Member:
    """A writer's two halves, without Kafka."""

    def __init__(self, settings: Settings) -> None:
        self.landing, self.core = Landing(settings), Core(LAZY)
        self.landing.prepare()

    def read(self, *runs: Run) -> None:
        self.core.assign(self.landing.locate([FIRST, SECOND], {}))
        self.core.add(runs, 0)

    def flush(self) -> None:
        self.landing.flush(self.core.take(TOPIC))


@pytest.fixture
def members(lake_settings: Settings) -> Iterator[list[Member]]:
    made = [Member(lake_settings) for _ in range(2)]
    yield made
    for member in made:
        member.landing.close()


@contextmanager
def dying_at(name: str) -> Iterator[None]:
    def hit(at: str) -> None:
        if at == name:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(failpoints, "hit", hit)
        with pytest.raises(KeyboardInterrupt):
            yield


def landed(settings: Settings) -> dict[str, list[tuple[int, int]]]:
    """By table, the partitions and offsets in it."""

    def rows(folder: str) -> list[tuple[int, int]]:
        delta = DeltaTable(f"s3://{settings.s3_bucket}/{folder}", storage_options=storage_options(settings))
        found: Any = delta.to_pyarrow_table(columns=["_kafka_partition", "_kafka_offset"]).to_pylist()
        return sorted((row["_kafka_partition"], row["_kafka_offset"]) for row in found)

    return {"bronze": rows(tables.FOLDERS[TOPIC]), "dead": rows(tables.DEAD_LETTERS_FOLDER)}


def test_files_that_may_have_been_pruned_meanwhile_are_not_committed(
    members: list[Member], lake_settings: Settings
) -> None:
    """Who was frozen for long before its commit would name files that are gone."""
    one, _ = members
    one.read(TEXT)
    with pytest.MonkeyPatch.context() as patch:

        def hit(at: str) -> None:
            if at == "before-commit":
                patch.setattr(table, "time", SimpleNamespace(**{**vars(time), "time": lambda: time.time() + 1900}))

        patch.setattr(failpoints, "hit", hit)
        with pytest.raises(FencedError, match="too old"):
            one.flush()
    assert landed(lake_settings)["bronze"] == []
    one.read(TEXT)
    one.flush()
    assert landed(lake_settings)["bronze"] == [(1, 0)]


def test_what_another_has_landed_is_not_buried(members: list[Member], lake_settings: Settings) -> None:
    knows, does_not = members
    knows.read(TEXT, LISTED)
    does_not.read(LISTED)
    does_not.flush()
    with pytest.raises(FencedError):
        knows.flush()
    assert landed(lake_settings) == {"bronze": [(0, 0)], "dead": []}
    knows.read(TEXT, LISTED)
    knows.flush()
    assert landed(lake_settings) == {"bronze": [(0, 0), (1, 0)], "dead": []}


@pytest.mark.parametrize("died_at", ["between-dead-letters-and-bronze", "before-dead-letters"])
def test_what_another_buries_is_not_landed(members: list[Member], lake_settings: Settings, died_at: str) -> None:
    knows, does_not = members
    knows.read(TEXT, LISTED)
    does_not.read(LISTED)
    with dying_at(died_at):
        knows.flush()
    with pytest.raises(FencedError):
        does_not.flush()
    does_not.read(LISTED, TEXT)
    does_not.flush()
    assert landed(lake_settings) == {"bronze": [(1, 0)], "dead": [(0, 0)]}


def test_who_froze_before_it_buried_does_so_no_more_once_another_has_looked(
    members: list[Member], lake_settings: Settings
) -> None:
    knows, does_not = members
    knows.read(TEXT, LISTED)
    with pytest.MonkeyPatch.context() as patch:

        def hit(at: str) -> None:
            if at == "before-dead-letters":
                patch.undo()
                does_not.read(LISTED)

        patch.setattr(failpoints, "hit", hit)
        with pytest.raises(FencedError):
            knows.flush()
    assert landed(lake_settings) == {"bronze": [], "dead": []}
    does_not.flush()  # by now it knows the column
    assert landed(lake_settings) == {"bronze": [], "dead": [(0, 0)]}
