"""What a writer owes when it ends: what it had read before and dropped, and nothing that comes after."""

from __future__ import annotations

from typing import Any

import pytest

from playlake.broker import TopicPartition
from playlake.errors import UnavailableError
from playlake.lake.core import Core, Position
from playlake.lake.landing import Flushed
from playlake.lake.writer import Writer
from playlake.settings import load_settings
from tests.unit.test_lake_core import TOPIC, run

ONE, OTHER = (TOPIC, 0), (TOPIC, 1)


def reading() -> tuple[Writer, Core]:
    """A writer that reads two partitions from their beginnings; nothing runs."""
    no_lake: Any = object()
    writer = Writer(load_settings(_env_file=None), landing=no_lake)
    writer._mine |= {ONE, OTHER}
    writer._core.assign({ONE: Position(0, None), OTHER: Position(0, None)})
    return writer, writer._core


def test_what_was_read_and_dropped_is_owed_until_the_lake_has_it() -> None:
    writer, core = reading()
    core.add([run(0, 1, 2), run(0, partition=1)], 0)
    writer._owed.note({ONE, OTHER})
    assert writer._owed.upto == {ONE: 3, OTHER: 1}
    writer._displace({ONE, OTHER})
    writer._placed({ONE: Position(2, None), OTHER: Position(1, None)})
    assert writer._owed.upto == {ONE: 3}
    assert writer._may_catch_up(0)
    writer._displace({ONE})
    writer._placed({ONE: Position(3, None)})
    assert writer._owed.upto == {}
    assert not writer._may_catch_up(1)


def test_a_feed_does_not_put_the_end_off() -> None:
    """Each fence owed all that had been read since the end began, for as long as more came and others were ahead."""
    writer, core = reading()
    core.add([run(0, 1, 2), run(0, 1, partition=1)], 0)
    writer._owed.note({ONE})
    writer._displace({ONE})
    assert writer._may_catch_up(0)
    writer._placed({ONE: Position(0, None)})
    core.add([run(0, 1, 2, 3, 4), run(2, 3, partition=1)], 1)
    writer._owed.note({ONE, OTHER})
    assert writer._owed.upto == {ONE: 3, OTHER: 2}, "of the other one, too, what was read before the end"
    assert not writer._may_catch_up(20)


def test_what_was_lost_is_owed_until_the_group_says_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is away has taken the partitions from nobody else; one that was told of us dead has."""
    writer, core = reading()
    core.add([run(0, 1, 2), run(0, partition=1)], 0)
    writer._lose([TopicPartition(*ONE), TopicPartition(*OTHER)])
    assert writer._owed.upto == {ONE: 3, OTHER: 1}
    assert writer._may_catch_up(0)
    monkeypatch.setattr(writer, "_start", lambda _now: None)
    writer._assigned([TopicPartition(*ONE)])
    assert writer._owed.upto == {ONE: 3}, "the other is another's now"
    writer._placed({ONE: Position(3, None)})
    assert not writer._may_catch_up(1)


def test_an_error_is_told_without_what_to_do_by_one_that_tries_again() -> None:
    error = UnavailableError("The broker is away.", "Start it.")
    assert (str(error), error.what) == ("The broker is away. Start it.", "The broker is away.")


def test_what_was_taken_away_in_good_order_is_for_another_to_land() -> None:
    writer, core = reading()
    core.add([run(0, 1, 2)], 0)
    writer._revoked([TopicPartition(*ONE), TopicPartition(*OTHER)])
    assert not writer._may_catch_up(0)


def test_a_flush_that_ends_after_its_partition_was_lost_is_owed_no_more() -> None:
    writer, core = reading()
    core.add([run(0, 1, 2)], 0)
    batch = core.take(TOPIC)
    writer._lose([TopicPartition(*ONE)])
    assert writer._owed.upto == {ONE: 3}
    writer._flushed(batch, Flushed(3, 0, "", {}, 1, 0, 0.0, 0.0, 0.0))
    assert not writer._owed
