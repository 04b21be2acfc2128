"""Arrow schemas of the bronze tables, derived from the events, and the rows that go there. No I/O."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from playlake import events

PARTITION_COLUMNS = ("year", "month", "day", "hour")
"""Folders, by the UTC hour of the message's own time stamp; zero-padded text, so that they sort."""


@dataclass(frozen=True, slots=True)
class Dead:
    """A message that can't be an event, and why. ``timestamp_ms`` is milliseconds since 1970."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    reason: str


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


LOG_GAPS: pa.Schema = pa.schema(
    [
        *_KAFKA[:3],
        pa.field("first_offset", pa.int64(), nullable=False),
        pa.field("next_offset", pa.int64(), nullable=False),
        pa.field("found_at", pa.timestamp("us", "UTC"), nullable=False),
    ]
)
"""Offsets that Kafka had deleted before they were landed: from the first to the one before the next."""

KNOWN_GAPS: pa.Schema = pa.schema(
    [*list(LOG_GAPS)[:-1], pa.field("acknowledged_at", pa.timestamp("us", "UTC"), nullable=False)]
)
"""Those of which somebody has said that their loss is known."""

REPLAYS: pa.Schema = pa.schema([*_KAFKA[:4], pa.field("replayed_at", pa.timestamp("us", "UTC"), nullable=False)])
"""Dead letters that were sent again, by the place of the dead letter."""

OWN_FIELDS: dict[str, list[pa.Field]] = {
    topic: [f for f in _event_fields(kind) if f.name != "extra"] for topic, kind in events.BY_TOPIC.items()
}
"""By topic, the columns of the event's own fields, without ``extra``."""

_ENGINES = {"filename", "file_row_number", "file_index", "delta_file_number", "rowid"}
"""Columns that DuckDB has of its own beside those of a file or table."""
_OWN_NAMES = _ENGINES | {f.name.lower() for schema in (*BRONZE.values(), DEAD_LETTERS) for f in schema}


def is_own_name(name: str) -> bool:
    """Whether a field of this name can't be a column beside ours: a name of ours or of an engine, or one that
    we may come to use."""
    return name.lower() in _OWN_NAMES or name.startswith("_")


def event_schema(topic: str) -> list[pa.Field]:
    """The columns that come from the event, ``extra`` among them."""
    return list(BRONZE[topic])[: -len(_KAFKA) - len(_FOLDERS)]


def _with_kafka(rows: pa.Table, topic: str, topic_id: str) -> pa.Table:
    """Rows whose positions are given, with the columns that are the same for all, and the time as a time."""
    at = rows.column_names.index("_kafka_timestamp")
    clamped = np.clip(rows[at].to_numpy(), 0, events.LAST_MS) * 1000  # a producer may send any 64-bit number
    times = pa.array(clamped, pa.int64()).cast(pa.timestamp("us", "UTC"))
    rows = rows.set_column(at, _KAFKA[-1], times)
    for name, value in (("_kafka_topic", topic), ("_kafka_topic_id", topic_id)):
        rows = rows.append_column(name, pa.repeat(pa.scalar(value), len(rows)))
    return rows


def bronze_rows(topic: str, decoded: pa.Table, topic_id: str) -> pa.Table:
    """Decoded events as rows of the topic's bronze table, in the order given; columns that were added come last."""
    rows = _with_kafka(decoded, topic, topic_id)
    own = [f for f in BRONZE[topic] if f.name not in PARTITION_COLUMNS]
    added = [f for f in rows.schema if f.name not in BRONZE[topic].names]
    return _in_order(rows, [*own, *added])


def dead_letter_rows(topic: str, dead: Sequence[Dead], topic_id: str) -> pa.Table:
    """The dead as rows of the table of dead letters, raw bytes and all."""
    columns = {
        "reason": pa.array([d.reason for d in dead], pa.string()),
        "key": pa.array([d.key for d in dead], pa.binary()),
        "value": pa.array([d.value for d in dead], pa.binary()),
        "_kafka_partition": pa.array([d.partition for d in dead], pa.int32()),
        "_kafka_offset": pa.array([d.offset for d in dead], pa.int64()),
        "_kafka_timestamp": pa.array([d.timestamp_ms for d in dead], pa.int64()),
    }
    rows = _with_kafka(pa.table(columns), topic, topic_id)
    return _in_order(rows, [f for f in DEAD_LETTERS if f.name not in PARTITION_COLUMNS])


def _in_order(rows: pa.Table, fields: list[pa.Field]) -> pa.Table:
    return pa.Table.from_arrays([rows[f.name] for f in fields], schema=pa.schema(fields))


def log_gap_row(topic: str, topic_id: str, partition: int, first: int, following: int, found_at: datetime) -> pa.Table:
    """A gap as a row of the table of gaps."""
    values = (topic, topic_id, partition, first, following, found_at)
    return pa.Table.from_arrays([pa.array([v], f.type) for v, f in zip(values, LOG_GAPS, strict=True)], schema=LOG_GAPS)
