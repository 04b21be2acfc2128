"""Arrow schemas of the bronze tables, derived from the events, and turning messages into rows. No I/O."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from playlake import events
from playlake.events.model import utc_from_ms

PARTITION_COLUMNS = ("year", "month", "day", "hour")
"""Folders, by the UTC hour of the message's own time stamp; zero-padded text, so that they sort."""


class Message(Protocol):
    """A Kafka message (``playlake.broker.Record`` is one)."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp_ms(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


def _arrow_type(annotation: Any) -> pa.DataType:
    """The Arrow type of an event's field: ``X | None``, ``Annotated[X, …]`` and ``Literal[…]`` are seen through."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _arrow_type(typing.get_args(annotation)[0])
    if origin is typing.Literal:
        return pa.string()
    if origin in (typing.Union, types.UnionType):
        return _arrow_type(next(a for a in typing.get_args(annotation) if a is not type(None)))
    known = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    return pa.timestamp("us", "UTC") if annotation is datetime else known[annotation]


def _nullable(annotation: Any) -> bool:
    return type(None) in typing.get_args(annotation)


_KAFKA = [
    pa.field("_kafka_topic", pa.string(), nullable=False),
    pa.field("_kafka_topic_id", pa.string(), nullable=False),
    pa.field("_kafka_partition", pa.int32(), nullable=False),
    pa.field("_kafka_offset", pa.int64(), nullable=False),
    pa.field("_kafka_timestamp", pa.timestamp("us", "UTC"), nullable=False),
]
_FOLDERS = [pa.field(name, pa.string(), nullable=False) for name in PARTITION_COLUMNS]


def _event_fields(kind: type[msgspec.Struct]) -> list[pa.Field]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return [pa.field(f, _arrow_type(hints[f]), nullable=_nullable(hints[f])) for f in kind.__struct_fields__]


BRONZE: dict[str, pa.Schema] = {
    topic: pa.schema([*_event_fields(kind), *_KAFKA, *_FOLDERS]) for topic, kind in events.BY_TOPIC.items()
}
"""By topic, the schema of its bronze table."""

DEAD_LETTERS: pa.Schema = pa.schema(
    [
        pa.field("reason", pa.string(), nullable=False),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        *_KAFKA,
        *_FOLDERS,
    ]
)


@dataclass(frozen=True, slots=True)
class Dead:
    """A message that can't be an event, and why."""

    message: Message
    reason: str


@dataclass(slots=True)
class Decoded:
    """Messages of one topic, told apart: the events with their messages, and the dead."""

    good: list[tuple[Message, msgspec.Struct]] = field(default_factory=list)
    dead: list[Dead] = field(default_factory=list)


def decode(topic: str, messages: Sequence[Message]) -> Decoded:
    """Validate every message by itself: a bad one never touches its neighbours."""
    decoded = Decoded()
    for message in messages:
        try:
            event = events.decode(topic, message.value, message.timestamp_ms)
        except events.InvalidEventError as error:
            decoded.dead.append(Dead(message, str(error)))
        else:
            decoded.good.append((message, event))
    return decoded


def _kafka_columns(messages: Sequence[Message], topic_ids: Callable[[str], str]) -> list[pa.Array]:
    times = [utc_from_ms(m.timestamp_ms) for m in messages]
    return [
        pa.array([m.topic for m in messages], pa.string()),
        pa.array([topic_ids(m.topic) for m in messages], pa.string()),
        pa.array([m.partition for m in messages], pa.int32()),
        pa.array([m.offset for m in messages], pa.int64()),
        pa.array(times, pa.timestamp("us", "UTC")),
        *(pa.array([t.strftime(f) for t in times], pa.string()) for f in ("%Y", "%m", "%d", "%H")),
    ]


def bronze_rows(topic: str, decoded: Decoded, topic_ids: Callable[[str], str]) -> pa.Table:
    """The good events as rows of the topic's bronze table, in the order given."""
    schema = BRONZE[topic]
    names = events.BY_TOPIC[topic].__struct_fields__
    found = [event for _, event in decoded.good]
    columns = [pa.array(map(attrgetter(name), found), schema.field(name).type, size=len(found)) for name in names]
    return pa.Table.from_arrays([*columns, *_kafka_columns([m for m, _ in decoded.good], topic_ids)], schema=schema)


def dead_letter_rows(dead: Sequence[Dead], topic_ids: Callable[[str], str]) -> pa.Table:
    """The dead as rows of the table of dead letters, raw bytes and all."""
    messages = [d.message for d in dead]
    columns = [
        pa.array([d.reason for d in dead], pa.string()),
        pa.array([m.key for m in messages], pa.binary()),
        pa.array([m.value for m in messages], pa.binary()),
    ]
    return pa.Table.from_arrays([*columns, *_kafka_columns(messages, topic_ids)], schema=DEAD_LETTERS)
