"""Reading Parquet files of the lake and writing their rows anew, with bounded memory: what compaction moves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from playlake.lake.stats import Statistics
from playlake.lake.store import ERRORS, Store

ORDER = [(name, "ascending") for name in ("_kafka_topic_id", "_kafka_partition", "_kafka_offset")]
"""Of the rows in a file: builds and `lake verify` look for positions, and plays of a moment lie together."""

_AT_ONCE = 16 * 2**20
"""Bytes of small files that are fetched at the same time."""
_GROUP = 128 * 2**20
"""Bytes of a group of rows, unpacked, that are read at once."""


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written: its key in the bucket, bytes, rows, and what the log says of its columns."""

    key: str
    size: int
    rows: int
    statistics: str


def read_rows(store: Store, files: Mapping[str, int], schema: pa.Schema, chunk: int) -> Iterator[pa.Table]:
    """The rows of files, sorted within chunks of about ``chunk`` bytes.

    :param files: their keys and sizes in bytes, in the order in which they are read.
    :param schema: columns; one that a file has not is null.
    :raises FileNotFoundError: when a file is not there.
    """
    held: list[pa.Table] = []
    size = 0
    for batch in _batches(store, files):
        held.append(_as(batch, schema))
        size += held[-1].nbytes
        if size >= chunk:
            yield pa.concat_tables(held).sort_by(ORDER)
            held, size = [], 0
    if held:
        yield pa.concat_tables(held).sort_by(ORDER)


def _batches(store: Store, files: Mapping[str, int]) -> Iterator[pa.Table]:
    for keys in _together(files):
        if len(keys) == 1:
            with store.reading(keys[0]) as file:
                yield from _row_groups(pq.ParquetFile(file))
            continue
        bodies = store.read_all(keys)
        for key in keys:
            if key not in bodies:
                raise FileNotFoundError(key)
            yield from _row_groups(pq.ParquetFile(pa.BufferReader(bodies.pop(key))))


def _row_groups(file: pq.ParquetFile) -> Iterator[pa.Table]:
    """A file piece by piece: what is small in the store may be large in memory. Ours have groups of bounded size."""
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        if group.total_byte_size <= _GROUP or group.num_rows <= 1:
            yield file.read_row_group(number)
            continue
        rows = max(1, group.num_rows * _GROUP // group.total_byte_size)
        for batch in file.iter_batches(batch_size=rows, row_groups=[number]):
            yield pa.Table.from_batches([batch])


def _together(files: Mapping[str, int]) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for key, of in files.items():
        if group and size + of > _AT_ONCE:
            yield group
            group, size = [], 0
        group.append(key)
        size += of
    if group:
        yield group


def _as(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        rows.column(f.name).cast(f.type) if f.name in rows.column_names else pa.nulls(rows.num_rows, f.type)
        for f in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def write_rows(
    store: Store, keys: Iterable[str], chunks: Iterable[pa.Table], schema: pa.Schema, target: int
) -> list[Written]:
    """Write chunks of rows, each as a row group, into files of about ``target`` bytes; ``keys`` names them."""
    names = iter(keys)
    written: list[Written] = []
    output: _Output | None = None
    try:
        for chunk in chunks:
            output = output or _Output(store, next(names), schema)
            output.add(chunk)
            if output.size >= target:
                written.append(output.close())
                output = None
        if output:
            written.append(output.close())
    except BaseException:
        if output:
            output.abandon()
        raise
    return written


class _Output:
    def __init__(self, store: Store, key: str, schema: pa.Schema) -> None:
        self._key = key
        self._file = store.writing(key)
        self._writer = pq.ParquetWriter(self._file, schema, compression="zstd")
        self._schema = schema
        self._statistics = Statistics(schema)

    @property
    def size(self) -> int:
        return int(self._file.tell())

    def add(self, rows: pa.Table) -> None:
        self._writer.write_table(rows, row_group_size=max(rows.num_rows, 1))
        self._statistics.add(rows)

    def close(self) -> Written:
        self._writer.close()
        size = self.size
        self._file.close()
        return Written(self._key, size, self._statistics.rows, self._statistics.json(self._schema))

    def abandon(self) -> None:
        """Do not let half a file come to be."""
        with suppress(pa.ArrowException, *ERRORS):
            self._writer.close()  # into the file's buffer, else it would try when it is collected
        with suppress(*ERRORS):
            self._file.discard()  # type: ignore[attr-defined]  # s3fs: aborts the upload of parts
        self._file.closed = True  # type: ignore[misc]
