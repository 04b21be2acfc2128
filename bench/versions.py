"""A table that many small commits have gone into already, for measurements."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.transaction import AddAction

from playlake.lake import tables
from playlake.lake.deliver import app_id
from playlake.lake.options import storage_options
from playlake.lake.schema import BRONZE, PARTITION_COLUMNS
from playlake.lake.store import Store
from playlake.settings import Settings

TOPIC_ID = "of-the-bench"
PARTITIONS = 4


def make(settings: Settings, topic: str, count: int) -> None:
    """Commit so many times to the topic's new table, each time a file of one row, as a quiet topic's writer would.

    The checkpoints are those that the table's configuration asks for.
    """
    table = tables.bronze(settings, topic)
    table.open()
    delta = DeltaTable(table.uri, storage_options=storage_options(settings))
    store = Store(settings)
    hour = dict(zip(PARTITION_COLUMNS, ("2026", "01", "01", "00"), strict=True))
    folder = "/".join(f"{name}={value}" for name, value in hour.items())
    row = pa.Table.from_pylist(
        [{"event_id": "bench", "_kafka_topic": topic, "_kafka_topic_id": TOPIC_ID, "_kafka_timestamp": _AT}],
        schema=pa.schema([f for f in BRONZE[topic] if f.name not in PARTITION_COLUMNS]),
    )
    body = io.BytesIO()
    pq.write_table(row, body, compression="zstd")
    value = body.getvalue()
    names = [f"{folder}/bench-{number:06}.parquet" for number in range(count)]
    for start in range(0, count, 500):
        store.write_all({f"{table.folder}/{name}": value for name in names[start : start + 500]})
    schema, at = delta.schema(), int(_AT.timestamp() * 1000)
    for number, name in enumerate(names):
        delta.create_write_transaction(
            [AddAction(name, len(value), hour, at, True, _STATS)],
            "append",
            schema,
            list(hour),
            commit_properties=CommitProperties(
                app_transactions=[Transaction(app_id(topic, TOPIC_ID, p), number + 1) for p in range(PARTITIONS)]
            ),
        )


_AT = datetime(2026, 1, 1, tzinfo=UTC)
_STATS = (
    '{"numRecords": 1, "minValues": {"_kafka_timestamp": "2026-01-01T00:00:00.000Z"}, '
    '"maxValues": {"_kafka_timestamp": "2026-01-01T00:00:00.000Z"}, "nullCount": {"_kafka_timestamp": 0}}'
)
