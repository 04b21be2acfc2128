"""Rows to Parquet files in the folders of their hours, with the statistics that the Delta log keeps of them.

Delta's protocol, "Per-file Statistics": https://github.com/delta-io/delta/blob/master/PROTOCOL.md. Times are given to
the millisecond there, the least rounded down and the greatest up.
"""

from __future__ import annotations

import json
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

_BOUNDED = ("user_id", "played_at", "detected_at", "_kafka_partition", "_kafka_offset", "_kafka_timestamp")
"""Columns whose least and greatest value is kept: those that readers skip files by."""
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
        yield File(f"part-{uuid.uuid4().hex}.parquet", parquet(rows), {}, stats(rows))
        return
    hours = rows["_kafka_timestamp"].cast(pa.int64()).to_numpy() // _HOUR_US
    for hour in np.unique(hours):
        part = rows if (hours == hour).all() else rows.filter(pa.array(hours == hour))
        values = folder_of(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=int(hour)))
        yield File(f"{path_of(values)}/part-{uuid.uuid4().hex}.parquet", parquet(part), values, stats(part))


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


def stats(rows: pa.Table) -> str:
    """Row count, null counts, and the bounds of the columns that readers skip by, as the log's JSON."""
    least: dict[str, Any] = {}
    greatest: dict[str, Any] = {}
    for name in _BOUNDED:
        if name in rows.column_names and rows[name].null_count < len(rows):
            bounds = pc.min_max(rows[name])
            least[name], greatest[name] = (_told(bounds[of], up=of == "max") for of in ("min", "max"))
    nulls = {name: rows[name].null_count for name in rows.column_names}
    return json.dumps({"numRecords": len(rows), "minValues": least, "maxValues": greatest, "nullCount": nulls})


def _told(value: pa.Scalar, *, up: bool) -> Any:
    if not pa.types.is_timestamp(value.type):
        return value.as_py()
    milliseconds = -(-value.value // 1000) if up else value.value // 1000
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
