"""Writers without Kafka, also of a release to which a message is no event that is one to another."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from playlake import events, failpoints
from playlake.lake import tables
from playlake.lake.core import Core, Limits
from playlake.lake.decode import Decoded, Decoder
from playlake.lake.landing import Landing
from playlake.lake.options import storage_options
from playlake.lake.schema import Dead
from playlake.records import Run
from playlake.settings import Settings
from tests.support.messages import play

TOPIC = events.PLAYS
FIRST, SECOND = (TOPIC, 0), (TOPIC, 1)
LAZY = Limits(rows=10**9, catchup_rows=10**9, bytes=10**9, seconds=10**9)


def message(partition: int) -> Run:
    """The first message of a partition."""
    value = json.dumps(play()).encode()
    return Run.of(TOPIC, partition, [0], [int(time.time() * 1000)], [None], [value])


DOUBTFUL, GOOD = message(0), message(1)
"""The first is no event to the one release, and one to the other."""


class Strict(Decoder):
    """The decoder of a release that refuses what is doubtful."""

    def decode(self, runs: Iterable[Run], columns: Mapping[str, pa.DataType] | None = None) -> Decoded:
        decoded = super().decode(runs, columns)
        refused = pc.equal(decoded.rows["_kafka_partition"], FIRST[1])
        decoded.dead = [
            Dead(row["_kafka_partition"], row["_kafka_offset"], row["_kafka_timestamp"], None, b"", "doubtful")
            for row in decoded.rows.filter(refused).to_pylist()
        ]
        decoded.rows = decoded.rows.filter(pc.invert(refused))
        return decoded


class Member:
    """A writer's two halves, without Kafka."""

    def __init__(self, settings: Settings) -> None:
        self.landing, self.core = Landing(settings), Core(LAZY)
        self.landing.prepare()

    def read(self, *runs: Run) -> None:
        self.core.assign(self.landing.locate([FIRST, SECOND], {}))
        self.core.add(runs, 0)

    def flush(self) -> None:
        self.landing.flush(self.core.take(TOPIC))


@contextmanager
def dying_at(name: str) -> Iterator[None]:
    def hit(at: str) -> None:
        if at == name:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(failpoints, "hit", hit)
        with pytest.raises(KeyboardInterrupt):
            yield


def landed(settings: Settings) -> dict[str, list[tuple[int, int]]]:
    """By table, the partitions and offsets in it."""

    def rows(folder: str) -> list[tuple[int, int]]:
        delta = DeltaTable(f"s3://{settings.s3_bucket}/{folder}", storage_options=storage_options(settings))
        found: Any = delta.to_pyarrow_table(columns=["_kafka_partition", "_kafka_offset"]).to_pylist()
        return sorted((row["_kafka_partition"], row["_kafka_offset"]) for row in found)

    return {"bronze": rows(tables.FOLDERS[TOPIC]), "dead": rows(tables.DEAD_LETTERS_FOLDER)}
