"""Rows to Parquet files in the folders of their hours, with the statistics that the Delta log keeps of them."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from playlake.lake import stats
from playlake.lake.schema import PARTITION_COLUMNS

_UNIQUE = frozenset({"event_id", "value", "_kafka_offset", "_kafka_timestamp", "played_at", "detected_at"})
"""Columns whose values hardly repeat: no dictionary is tried."""
_HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class File:
    """A Parquet file that is to be put. ``path`` is below the table's folder, ``stats`` is the log's JSON."""

    path: str
    body: bytes
    partition_values: dict[str, str]
    stats: str


def folder_of(at: datetime) -> dict[str, str]:
    """The values of the partition columns for an hour."""
    return dict(zip(PARTITION_COLUMNS, at.strftime("%Y %m %d %H").split(), strict=True))


def path_of(values: dict[str, str]) -> str:
    """The hive folder of these values."""
    return "/".join(f"{name}={value}" for name, value in values.items())


def files(rows: pa.Table) -> Iterator[File]:
    """One file for each hour of ``_kafka_timestamp``; partition columns are in the path, not in the file.

    Rows that have no such column are of a table without folders: one file.
    """
    if not len(rows):
        return
    rows = rows.drop_columns([name for name in PARTITION_COLUMNS if name in rows.column_names])
    if "_kafka_timestamp" not in rows.column_names:
        yield _file("", rows, {})
        return
    hours = rows["_kafka_timestamp"].cast(pa.int64()).to_numpy() // _HOUR_US
    for hour in np.unique(hours) if hours.min() < hours.max() else hours[:1]:
        part = rows if hours.min() == hours.max() else rows.filter(pa.array(hours == hour))
        values = folder_of(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=int(hour)))
        yield _file(f"{path_of(values)}/", part, values)


def _file(folder: str, rows: pa.Table, values: dict[str, str]) -> File:
    body = parquet(rows)
    return File(f"{folder}part-{uuid.uuid4().hex}.parquet", body, values, stats.of(rows))


def parquet(rows: pa.Table) -> bytes:
    """The bytes of a Parquet file, zstd."""
    body = io.BytesIO()  # what the store's client wants are bytes: nothing is copied for it
    pq.write_table(
        rows,
        body,
        compression="zstd",
        use_dictionary=[name for name in rows.column_names if name not in _UNIQUE],
        store_schema=False,  # the log has it; in a file of few rows it would be most of the bytes
    )
    return body.getvalue()
