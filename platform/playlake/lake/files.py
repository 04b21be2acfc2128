"""Rows to Parquet files in the folders of their hours, with the statistics that the Delta log keeps of them.

Delta's protocol, "Per-file Statistics": https://github.com/delta-io/delta/blob/master/PROTOCOL.md. Times are given to
the millisecond there, the least rounded down and the greatest up.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from playlake.lake.schema import PARTITION_COLUMNS

_PREFIX = 64
"""Characters of a text that are kept as a bound."""
_UNIQUE = frozenset({"event_id", "value", "_kafka_offset", "_kafka_timestamp", "played_at", "detected_at"})
"""Columns whose values hardly repeat: no dictionary is tried."""
_HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class File:
    """A Parquet file that is to be put. ``path`` is below the table's folder, ``stats`` is the log's JSON."""

    path: str
    body: pa.Buffer
    partition_values: dict[str, str]
    stats: str


def folder_of(at: datetime) -> dict[str, str]:
    """The values of the partition columns for an hour."""
    return dict(zip(PARTITION_COLUMNS, at.strftime("%Y %m %d %H").split(), strict=True))


def path_of(values: dict[str, str]) -> str:
    """The hive folder of these values."""
    return "/".join(f"{name}={value}" for name, value in values.items())


def files(rows: pa.Table) -> Iterator[File]:
    """One file for each hour of ``_kafka_timestamp``; ``rows`` are without the partition columns.

    Rows that have no such column are of a table without folders: one file.
    """
    if not len(rows):
        return
    if "_kafka_timestamp" not in rows.column_names:
        yield _file("", rows, {})
        return
    hours = rows["_kafka_timestamp"].cast(pa.int64()).to_numpy() // _HOUR_US
    for hour in np.unique(hours):
        part = rows if (hours == hour).all() else rows.filter(pa.array(hours == hour))
        values = folder_of(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=int(hour)))
        yield _file(f"{path_of(values)}/", part, values)


def _file(folder: str, rows: pa.Table, values: dict[str, str]) -> File:
    body = parquet(rows)
    return File(f"{folder}part-{uuid.uuid4().hex}.parquet", body, values, stats(rows, body))


def parquet(rows: pa.Table) -> pa.Buffer:
    """The bytes of a Parquet file, zstd."""
    body = pa.BufferOutputStream()
    pq.write_table(
        rows,
        body,
        compression="zstd",
        use_dictionary=[name for name in rows.column_names if name not in _UNIQUE],
        store_schema=False,  # the log has it; in a file of few rows it would be most of the bytes
    )
    return body.getvalue()


def stats(rows: pa.Table, body: pa.Buffer) -> str:
    """Row count, null counts and bounds of every column but bytes, as the log's JSON.

    Of every column, because deltalake's own reader takes a bound that is not given for one that nothing meets.

    :param body: the file of these rows, whose footer has most of the bounds already.
    """
    footer = pq.read_metadata(pa.BufferReader(body))
    least: dict[str, Any] = {}
    greatest: dict[str, Any] = {}
    for number, name in enumerate(rows.column_names):
        column = rows[name]
        if column.null_count == len(rows) or pa.types.is_binary(column.type):
            continue
        groups = [footer.row_group(g).column(number).statistics for g in range(footer.num_row_groups)]
        if all(g is not None and g.has_min_max for g in groups) and not pa.types.is_timestamp(column.type):
            low, high = min(g.min for g in groups), max(g.max for g in groups)
        else:  # the footer leaves out long texts
            bounds = pc.min_max(column)
            low, high = bounds["min"], bounds["max"]
        least[name], greatest[name] = _lower(low), _upper(high)
    nulls = {name: rows[name].null_count for name in rows.column_names}
    return json.dumps({"numRecords": len(rows), "minValues": least, "maxValues": greatest, "nullCount": nulls})


def _lower(value: Any) -> Any:
    if isinstance(value, pa.TimestampScalar):
        return _time(value.value // 1000)
    value = value.as_py() if isinstance(value, pa.Scalar) else value
    return value[:_PREFIX] if isinstance(value, str) else value


def _upper(value: Any) -> Any:
    if isinstance(value, pa.TimestampScalar):
        return _time(-(-value.value // 1000))
    value = value.as_py() if isinstance(value, pa.Scalar) else value
    return _next_prefix(value) if isinstance(value, str) and len(value) > _PREFIX else value


def _next_prefix(text: str) -> str:
    """The least text of at most as many characters as a bound has that is greater than all that begin like this."""
    for at in range(_PREFIX - 1, -1, -1):
        if (code := ord(text[at])) < sys.maxunicode:
            following = 0xE000 if code == 0xD7FF else code + 1  # there are no characters between
            return text[:at] + chr(following)
    return text


def _time(milliseconds: int) -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
