"""A bronze table of plays with many small files, an hour in each."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl
from deltalake import DeltaTable

from playlake import events
from playlake.lake import compact, tables
from playlake.lake.deliver import app_id
from playlake.lake.options import storage_options
from playlake.lake.schema import PARTITION_COLUMNS
from playlake.settings import Settings
from tests.models.warehouse import Message, bronze_rows, play

HOUR_MS = 3_600_000
START_MS = 1_767_225_600_000  # 2026-01-01T00:00Z
Key = tuple[str, int, int]


class Lake:
    """The plays of a lake of its own, two partitions, hour after hour."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.table = tables.bronze(settings, events.PLAYS)
        self.uri = self.table.uri
        self.options = storage_options(settings)
        self.next = {0: 0, 1: 0}
        self.landed: Counter[Key] = Counter()

    def land(self, partition: int, hours: list[int], each: int = 5) -> None:
        """One commit with ``each`` rows in each of the hours since the start."""
        first = self.next[partition]
        count = each * len(hours)
        good = [
            (
                Message(events.PLAYS, partition, first + n, START_MS + hours[n // each] * HOUR_MS + n),
                play("2026-01-01 10:00:00", event_id=f"{partition}-{first + n}", track_id=f"t{n}"),
            )
            for n in range(count)
        ]
        rows = bronze_rows(events.PLAYS, good, "t").drop_columns(list(PARTITION_COLUMNS))
        app = app_id(events.PLAYS, "t", partition)
        self.next[partition] += count
        self.landed.update(("t", partition, first + n) for n in range(count))
        self.table.append(rows, {app: first or None}, {app: self.next[partition]})

    @property
    def delta(self) -> DeltaTable:
        return DeltaTable(self.uri, storage_options=self.options)

    def files(self) -> Counter[str]:
        """Live files by hour."""
        return Counter(f.rpartition("hour=")[2].partition("/")[0] for f in self.delta.file_uris())

    def keys(self) -> Counter[Key]:
        """Every row by its place in Kafka, as Polars sees it."""
        return Counter(
            pl.scan_delta(self.uri, storage_options=self.options)
            .select("_kafka_topic_id", "_kafka_partition", "_kafka_offset")
            .collect()
            .iter_rows()
        )

    def compact(self, **kwargs: Any) -> compact.Compacted:
        return compact.compact(self.settings, self.table, **kwargs)
