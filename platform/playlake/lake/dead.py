"""Looking at dead letters. They are read by DuckDB, so that a list of many does not need their bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol, Self

import pyarrow as pa

from playlake import events
from playlake.errors import PlaylakeError, UsageError
from playlake.lake import tables
from playlake.lake.schema import REPLAYS
from playlake.settings import Settings

_CHUNK_ROWS = 5_000
_CHUNK_BYTES = 32 * 1024 * 1024
"""Of messages that are in memory at once."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Sql(Protocol):
    """A DuckDB connection that can read the lake."""

    def execute(self, query: str, parameters: Any = ...) -> Any: ...
    def register(self, name: str, value: Any) -> Any: ...
    def unregister(self, name: str) -> Any: ...


class Place(NamedTuple):
    """Where a message was in Kafka."""

    topic: str
    partition: int
    offset: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """A place as typed, ``TOPIC/PARTITION/OFFSET``.

        :raises UsageError: when it is none.
        """
        found = re.fullmatch(r"([^/]+)/(\d{1,9})/(\d{1,18})", text)
        if not found:
            raise UsageError(
                f"{text[:60]!r} is no place of a message. Write TOPIC/PARTITION/OFFSET: {events.PLAYS}/0/42."
            )
        return cls(known_topic(found[1]), int(found[2]), int(found[3]))

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


def known_topic(name: str) -> str:
    """The name of a topic that lands.

    :raises UsageError: when none has it.
    """
    if name not in events.TOPICS:
        raise UsageError(f"No topic {name[:60]!r} lands here. There are {', '.join(events.TOPICS)}.")
    return name


def kind(reason: str) -> str:
    """What a reason has in common with others: what stands after a colon is the message's own."""
    return reason.split(":", 1)[0]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters; those of no condition are all. ``since`` is of the message's own time."""

    topic: str | None = None
    reason: str | None = None
    since: datetime | None = None
    places: Sequence[Place] = ()

    def where(self) -> tuple[str, list[Any]]:
        """As a condition of SQL and its parameters."""
        conditions, values = ["true"], list[Any]()
        if self.topic:
            conditions.append("topic = ?")
            values.append(self.topic)
        if self.reason:
            conditions.append("contains(lower(reason), lower(?))")
            values.append(self.reason)
        if self.since:
            conditions.append("at_us >= ?")
            values.append((self.since - _EPOCH) // timedelta(microseconds=1))
        if self.places:
            conditions.append(f"({' or '.join(['(topic, part, pos) = (?, ?, ?)'] * len(self.places))})")
            values += [value for place in self.places for value in place]
        return " and ".join(conditions), values


@dataclass(frozen=True, slots=True)
class Group:
    """Dead letters of a topic with the same kind of reason. Times are the messages' own."""

    topic: str
    reason: str
    count: int
    replayed: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter, without its bytes. ``at`` is the message's own time, ``replayed_at`` when it was last sent."""

    place: Place
    topic_id: str
    at: datetime
    reason: str
    replayed_at: datetime | None


Row = tuple[str, str, int, int, bytes | None, bytes | None]
"""Topic, topic id, partition, offset, key and value of a dead letter."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a dead letter held, byte for byte."""

    letter: Letter
    key: bytes | None
    value: bytes | None


class DeadLetters:
    """The dead letters of the lake, as they were when this was made.

    :param sql: a DuckDB connection that can read the lake.
    :raises PlaylakeError: when the store does not answer.
    """

    def __init__(self, settings: Settings, sql: Sql) -> None:
        self._settings = settings
        self._sql = sql
        self._replays = tables.replays(settings)
        dead = tables.dead_letters(settings)
        for table in (dead, self._replays):
            table.open()
        sql.execute(
            "create or replace temp table replayed as select _kafka_topic_id as topic_id, _kafka_partition as part,"
            f" _kafka_offset as pos, epoch_us(max(replayed_at)) as replayed_us from delta_scan('{self._replays.uri}')"
            " group by all"
        )
        sql.execute(
            "create or replace temp view dead as select _kafka_topic as topic, _kafka_topic_id as topic_id,"
            " _kafka_partition as part, _kafka_offset as pos, epoch_us(_kafka_timestamp) as at_us, reason, key, value,"
            f" filename, replayed_us from delta_scan('{dead.uri}', filename=true, version={dead.version}) left join"
            " replayed on (_kafka_topic_id, _kafka_partition, _kafka_offset) ="
            " (replayed.topic_id, replayed.part, replayed.pos)"
        )

    def groups(self, wanted: Wanted) -> list[Group]:
        """What there is, by topic and kind of reason; the most frequent first."""
        where, values = wanted.where()
        rows = self._sql.execute(
            "select topic, split_part(reason, ':', 1) as kind, count(*) as n, count(replayed_us), min(at_us),"
            f" max(at_us) from dead where {where} group by topic, kind order by n desc, topic, kind",
            values,
        ).fetchall()
        return [Group(t, why, n, sent, _time(first), _time(last)) for t, why, n, sent, first, last in rows]

    def latest(self, wanted: Wanted, most: int) -> list[Letter]:
        """Single ones, the latest first."""
        where, values = wanted.where()
        rows = self._sql.execute(
            f"select {_LETTER} from dead where {where} order by at_us desc, topic, part, pos desc limit ?",
            [*values, most],
        ).fetchall()
        return [_letter(row) for row in rows]

    def content(self, place: Place) -> Content:
        """One with its bytes; where a topic was made anew and has it twice, the later.

        :raises PlaylakeError: when there is none, with what there is near it.
        """
        where, values = Wanted(places=(place,)).where()
        row = self._sql.execute(
            f"select {_LETTER}, key, value from dead where {where} order by at_us desc limit 1", values
        ).fetchone()
        if row is None:
            raise self._none(place)
        return Content(_letter(row[:7]), row[7], row[8])

    def _none(self, place: Place) -> PlaylakeError:
        near = self._sql.execute(
            "select distinct pos, abs(pos - ?) as far from dead where topic = ? and part = ? order by far, pos limit 3",
            [place.offset, place.topic, place.partition],
        ).fetchall()
        there = (
            f"The nearest of that partition are at {', '.join(str(pos) for pos, _ in sorted(near))}."
            if near
            else "That partition has none."
        )
        return PlaylakeError(
            f"There is no dead letter at {place}: the message is an event, or has not landed yet. {there}"
            " `playlake dlq list` shows what there is."
        )

    def pick(self, wanted: Wanted, *, again: bool) -> pa.Table:
        """Where those are that may be sent again, and how many bytes each has, in the order of their files.

        :param again: also those that have been.
        """
        where, values = wanted.where()
        fresh = "" if again else " and replayed_us is null"
        found: pa.Table = self._sql.execute(
            "select filename, topic_id, part, pos, octet_length(coalesce(value, ''::blob)) as bytes"
            f" from dead where {where}{fresh} order by filename, part, pos",
            values,
        ).to_arrow_table()
        return found

    def read(self, picked: pa.Table) -> Iterator[list[Row]]:
        """What was picked, not too much of it at once."""
        start = 0
        for stop in _cuts(picked["bytes"].to_pylist()):
            chunk = picked.slice(start, stop - start)
            files = chunk["filename"].unique().to_pylist()
            self._sql.register("chunk", chunk)
            yield self._sql.execute(
                "select _kafka_topic, topic_id, part, pos, key, value from read_parquet(?, hive_partitioning=false,"
                " union_by_name=true) join chunk on (_kafka_topic_id, _kafka_partition, _kafka_offset) ="
                " (topic_id, part, pos) order by topic_id, part, pos",
                [files],
            ).fetchall()
            self._sql.unregister("chunk")
            start = stop

    def note(self, sent: Sequence[tuple[str, str, int, int]], at: datetime) -> None:
        """Keep that these (topic, topic id, partition, offset) were sent again."""
        columns = [*zip(*sent, strict=True), [at] * len(sent)]
        arrays = [pa.array(values, f.type) for values, f in zip(columns, REPLAYS, strict=True)]
        self._replays.append(pa.Table.from_arrays(arrays, schema=REPLAYS), {}, {})


_LETTER = "topic, part, pos, topic_id, at_us, reason, replayed_us"


def _letter(row: Sequence[Any]) -> Letter:
    return Letter(Place(*row[:3]), row[3], _time(row[4]), row[5], None if row[6] is None else _time(row[6]))


def _time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _cuts(sizes: Sequence[int]) -> Iterator[int]:
    """Where chunks end that are small enough, each of at least one message."""
    rows = size = 0
    for at, more in enumerate(sizes):
        if rows and (rows >= _CHUNK_ROWS or size + more > _CHUNK_BYTES):
            yield at
            rows = size = 0
        rows, size = rows + 1, size + more
    if rows:
        yield len(sizes)
