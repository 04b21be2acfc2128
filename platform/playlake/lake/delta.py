"""What is done to a table with deltalake: all that goes through its files, or changes more than it appends.

Imported only where one of these is done: the library takes 60 MB, and a writer seldom needs it. Its errors are told as
OSError.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
from deltalake import DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, DeltaError

from playlake.lake.deliver import FencedError
from playlake.lake.options import storage_options
from playlake.settings import Settings


@dataclass(frozen=True, slots=True)
class Live:
    """What the log says of a table at one version: its files, and nothing that was replaced since."""

    schema: pa.Schema
    files: Mapping[str, int]
    """By the path below the table's folder, the rows."""
    first: datetime | None
    """Of ``_kafka_timestamp``, to the millisecond; None where there is no row."""
    last: datetime | None


@contextmanager
def opened(settings: Settings, uri: str, version: int | None = None) -> Iterator[DeltaTable]:
    """A table with all its files, at its latest version or another.

    :raises OSError: also for what is done with it.
    """
    try:
        yield DeltaTable(uri, version=version, storage_options=storage_options(settings))
    except DeltaError as error:
        raise OSError(str(error)) from error


def types(schema: str) -> dict[str, pa.DataType]:
    """By name, the types of a schema that the log has as JSON."""
    return {f.name: f.type for f in pa.schema(Schema.from_json(schema).to_arrow())}


def add_columns(delta: DeltaTable, columns: Mapping[str, pa.DataType]) -> None:
    """Add nullable columns.

    :raises FencedError: when the table was changed meanwhile.
    """
    schema = Schema.from_arrow(pa.schema([pa.field(name, kind) for name, kind in columns.items()]))
    try:
        delta.alter.add_columns(schema.fields)
    except CommitFailedError as error:
        raise FencedError(str(error)) from error


def live(delta: DeltaTable, schema: pa.Schema) -> Live:
    """The live files of a table."""
    actions = pa.table(delta.get_add_actions(flatten=True))
    files = dict(zip(actions["path"].to_pylist(), actions["num_records"].to_pylist(), strict=True))
    if not files:
        return Live(schema, {}, None, None)
    first, last = (actions[f"{of}._kafka_timestamp"].to_pylist() for of in ("min", "max"))
    return Live(schema, files, min(first), max(last))


def offsets_from(delta: DeltaTable, topic_id: str, partition: int, start: int) -> frozenset[int]:
    """Offsets at or after ``start`` that a table holds of a partition."""
    import pyarrow.dataset as ds

    found = delta.to_pyarrow_table(
        columns=["_kafka_offset"],
        filters=(ds.field("_kafka_topic_id") == topic_id)
        & (ds.field("_kafka_partition") == partition)
        & (ds.field("_kafka_offset") >= start),
    )
    return frozenset(found.column("_kafka_offset").to_pylist())


def prune(delta: DeltaTable, hours: int, *, dry_run: bool) -> list[str]:
    """Remove the files that no version of the table knows and that are older than ``hours``; returns their paths."""
    found = delta.vacuum(hours, dry_run=True, enforce_retention_duration=False, full=True)
    if found and not dry_run:  # even a vacuum that finds nothing is a version, which would look like news
        delta.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True)
    return list(found)
