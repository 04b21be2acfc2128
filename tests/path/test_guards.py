"""What keeps a message from being passed over or landed twice and needs a rare moment: each done on purpose.

The writer's two halves on a real store and broker; what the broker would have to have lost or renamed is told to them.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import Future
from typing import Any

import pytest

from playlake import events
from playlake.broker import Admin
from playlake.broker.admin import TopicInfo
from playlake.lake.core import Position
from playlake.lake.landing import LogBehindLakeError, Nowhere, TopicMadeAnewError
from playlake.lake.writer import Writer, _Job
from playlake.records import Run
from playlake.settings import Settings
from tests.support.judging import FIRST, SECOND, TOPIC, Member, dying_at, landed
from tests.support.messages import play


def run(partition: int, first: int, *plays: dict[str, Any]) -> Run:
    now, n = int(time.time() * 1000), len(plays)
    values = [json.dumps(one).encode() for one in plays]
    return Run.of(TOPIC, partition, list(range(first, first + n)), [now] * n, [None] * n, values)


def test_what_was_read_of_a_topic_made_anew_since_is_not_landed(
    members: list[Member], lake_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a busy topic the look at a flush is the only one."""
    one, _ = members
    one.read(run(0, 0, play()))
    real = Admin.topics

    def topics(self: Admin, names: tuple[str, ...]) -> dict[str, TopicInfo]:
        return {n: TopicInfo(n, "another-id", i.partitions) for n, i in real(self, names).items()}

    with monkeypatch.context() as patch:
        patch.setattr(Admin, "topics", topics)
        with pytest.raises(TopicMadeAnewError):
            one.flush()
    assert landed(lake_settings) == {"bronze": [], "dead": []}


def test_a_log_that_ends_before_what_has_landed_is_not_written_on(members: list[Member]) -> None:
    """New messages under offsets that the lake has would be passed over."""
    one, other = members
    one.read(run(0, 0, play(), play(), play()))
    one.flush()
    with pytest.raises(LogBehindLakeError, match=r"ends before offset 3.*Delete the topic"):
        other.landing.locate([FIRST], {FIRST: Nowhere(3, 0)})


def test_who_asked_for_what_another_has_landed_since_goes_on_where_it_is_now(members: list[Member]) -> None:
    """That the log has not got the offset that was asked for says nothing of the one that is next."""
    one, other = members
    one.read(run(0, 0, play(), play(), play()))
    one.flush()
    assert other.landing.locate([FIRST], {FIRST: Nowhere(2, 0)})[FIRST].bronze == 3


def test_what_another_release_has_buried_is_not_landed(
    members: list[Member], lake_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died before bronze, and this one takes the message for an event."""
    strict, lenient = members
    # A field that is no column's is read message by message.
    odd, good = play(where={"city": "Rome"}), play()
    real = events.decode

    def decode(topic: str, value: bytes | None, timestamp_ms: int) -> Any:
        if value and b"Rome" in value:
            raise events.InvalidEventError("of no city")
        return real(topic, value, timestamp_ms)

    strict.read(run(0, 0, good, odd, good))
    with monkeypatch.context() as patch, dying_at("between-dead-letters-and-bronze"):
        patch.setattr(events, "decode", decode)
        strict.flush()
    assert landed(lake_settings) == {"bronze": [], "dead": [(0, 1)]}
    lenient.read(run(0, 0, good, odd, good))
    lenient.flush()
    assert landed(lake_settings) == {"bronze": [(0, 0), (0, 2)], "dead": [(0, 1)]}


def writer(settings: Settings) -> Writer:
    made = Writer(settings)
    made._mine = {FIRST, SECOND}
    return made


def ended(error: BaseException) -> _Job:
    future: Future[Any] = Future()
    future.set_exception(error)
    return _Job(future, lambda _: None)


def test_where_the_log_of_a_topic_that_was_began_says_nothing_of_the_new_one(lake_settings: Settings) -> None:
    """Its first messages would be passed over as gone."""
    made = writer(lake_settings)
    made._nowhere = {FIRST: Nowhere(0, 7)}
    made._job = ended(TopicMadeAnewError(TOPIC))
    made._reap(None)
    assert made._nowhere == {}
    assert made._unplaced == {FIRST, SECOND}


def test_a_partition_that_was_taken_away_while_it_was_looked_up_is_not_read(lake_settings: Settings) -> None:
    made = writer(lake_settings)
    made._unplaced = {FIRST}
    made._placed({FIRST: Position(3, None), SECOND: Position(5, None)})
    assert made._core.reading() == {FIRST: 3}
