"""Compaction on a real store: readers and writers see no difference, before and after."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from playlake import failpoints
from playlake.errors import PlaylakeError
from playlake.lake import compact, rewriting
from playlake.lake.store import Store
from playlake.settings import Settings
from playlake.warehouse import duck
from tests.support.commands import Cli
from tests.support.hourly import HOUR_MS, START_MS, Lake
from tests.support.lakes import addressed

SMALL = compact.Sizes(target=2**20, chunk=2**14)


@pytest.fixture
def lake(lake_settings: Settings) -> Lake:
    made = Lake(lake_settings)
    for _ in range(6):
        made.land(0, [0, 1, 2])
        made.land(1, [0, 1, 2])
    return made


def whole(lake: Lake) -> None:
    assert lake.keys() == lake.landed


def test_closed_hours_become_one_sorted_file_each_and_open_ones_stay(lake: Lake) -> None:
    now = (START_MS + 3 * HOUR_MS + 60_000) / 1000  # a minute after the third hour's end
    planned = lake.compact(now=lambda: now, dry_run=True)
    assert (planned.hours, planned.files_before, planned.files_after, planned.rows) == (2, 24, 0, 120)
    done = lake.compact(now=lambda: now)
    assert (done.hours, done.files_before, done.files_after, done.rows, done.left) == (2, 24, 2, 120, 0)
    assert lake.files() == {"00": 1, "01": 1, "02": 12}
    whole(lake)
    store = Store(lake.settings)
    for path in (f for f in lake.delta.file_uris() if "compacted" in f):
        file = pq.ParquetFile(pa.BufferReader(store.read(path.removeprefix(f"s3://{lake.settings.s3_bucket}/"))))
        found = file.read(["_kafka_partition", "_kafka_offset"]).to_pylist()
        assert found == sorted(found, key=lambda r: (r["_kafka_partition"], r["_kafka_offset"]))
        assert {file.metadata.row_group(0).column(n).compression for n in range(5)} == {"ZSTD"}
    assert lake.compact(now=lambda: now).hours == 0, "a second run has nothing to do"


def test_columns_and_values_are_what_they_were_and_files_are_skipped_by_them(lake: Lake) -> None:
    query = f"from delta_scan('{lake.uri}') order by _kafka_partition, _kafka_offset"
    asked = ["_kafka_offset = 17", "track_id = 't3'", "played_at = '2026-01-01 10:00:00+00'", "ms_played > 200000"]
    with duck.connect(lake.settings) as connection:

        def counted() -> list[Any]:
            return [
                connection.execute(f"select count(*) from delta_scan('{lake.uri}') where {a}").fetchone() for a in asked
            ]

        before, counts = connection.execute(query).to_arrow_table(), counted()
        lake.compact(sizes=SMALL)
        assert connection.execute(query).to_arrow_table().equals(before)
        assert counted() == counts
    live = lake.table.live(lake.delta.version())
    assert sum(live.files.values()) == 180
    assert live.first == datetime(2026, 1, 1, tzinfo=UTC)
    assert live.last is not None
    assert live.last.hour == 2
    actions = pa.table(lake.delta.get_add_actions(flatten=True)).to_pylist()
    assert {a["max._kafka_offset"] - a["min._kafka_offset"] for a in actions} == {79}
    assert all(a["null_count.country"] == a["num_records"] for a in actions)


def test_a_large_hour_becomes_several_files_with_little_of_it_in_memory(lake: Lake) -> None:
    for _ in range(30):
        lake.land(0, [0], each=400)
    sizes = compact.Sizes(target=50_000, chunk=100_000)
    done = lake.compact(sizes=sizes)
    assert done.files_after > 4
    assert max(pa.table(lake.delta.get_add_actions()).column("size_bytes").to_pylist()) < 2 * sizes.target
    whole(lake)
    again = lake.compact(sizes=sizes)
    assert again.hours <= 1, "at most what was left over is put together once more"
    whole(lake)


def test_files_older_than_a_column_are_compacted_with_it(lake: Lake) -> None:
    from deltalake.schema import Field, PrimitiveType

    lake.delta.alter.add_columns([Field("mood", PrimitiveType("string"))])
    lake.compact()
    whole(lake)
    found = pl.scan_delta(lake.uri, storage_options=lake.options).select("mood").collect()
    assert found["mood"].null_count() == 180


def test_an_hour_of_which_rows_are_missing_is_not_replaced(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    real = rewriting.read_rows

    def read(*given: Any) -> Iterator[pa.Table]:
        for piece in real(*given):
            yield piece.slice(1)

    monkeypatch.setattr("playlake.lake.compact.read_rows", read)
    version = lake.delta.version()
    with pytest.raises(PlaylakeError, match=r"has \d+ rows where the log has \d+: not compacted"):
        lake.compact()
    assert lake.delta.version() == version
    whole(lake)


def test_columns_that_another_program_has_added_and_filled_are_kept(lake: Lake) -> None:
    """Of types that we never write: their bounds go into the log, too."""
    schema = pa.schema([("price", pa.decimal128(9, 2)), ("on", pa.date32()), ("tags", pa.list_(pa.string()))])
    lake.delta.alter.add_columns(Schema.from_arrow(schema).fields)
    given = {"price": Decimal("3.50"), "on": date(2026, 1, 2), "tags": ["a", "b"]}
    some = lake.delta.to_pyarrow_table().drop_columns(schema.names).slice(0, 4)
    for n in range(4):
        one = some.slice(n, 1)
        for name, value in given.items():
            one = one.append_column(name, pa.array([value], schema.field(name).type))
        write_deltalake(lake.uri, one, mode="append", storage_options=lake.options)
    before = lake.delta.to_pyarrow_table().sort_by([("event_id", "ascending"), ("price", "ascending")])
    assert lake.compact().hours > 0
    after = lake.delta.to_pyarrow_table().sort_by([("event_id", "ascending"), ("price", "ascending")])
    assert after.equals(before)
    found = pl.scan_delta(lake.uri, storage_options=lake.options).filter(pl.col("on") == date(2026, 1, 2)).collect()
    assert found["price"].to_list() == [Decimal("3.50")] * 4
    assert lake.delta.to_pyarrow_table(filters=[("price", "=", Decimal("3.50"))]).num_rows == 4


def test_a_table_with_rows_deleted_inside_files_is_not_compacted(lake: Lake) -> None:
    from deltalake import TableFeatures

    lake.delta.alter.add_feature(TableFeatures.DeletionVectors, allow_protocol_versions_increase=True)
    with pytest.raises(PlaylakeError, match="can't compact"):
        lake.compact()


def test_a_missing_file_is_named_and_changes_nothing(lake: Lake) -> None:
    path = sorted(lake.delta.file_uris())[0].removeprefix(f"s3://{lake.settings.s3_bucket}/")
    Store(lake.settings).delete(path)
    version = lake.delta.version()
    with pytest.raises(PlaylakeError, match=f"is missing.*{path.rpartition('/')[2]}"):
        lake.compact()
    assert lake.delta.version() == version


def test_deltalakes_own_check_lets_the_same_files_be_replaced_twice_and_ours_does_not(lake: Lake) -> None:
    """What docs/adr/0012 says of the library: if this fails, it has changed."""
    first, second, third, fourth = lake.delta, lake.delta, lake.delta, lake.delta
    old = pa.table(first.get_add_actions()).to_pylist()[0]

    def swap(delta: DeltaTable, properties: CommitProperties) -> None:
        new = AddAction(f"copy-{time.monotonic_ns()}.parquet", old["size_bytes"], old["partition"], 0, False, "{}")
        gone = RemoveAction(old["path"], False, 0, old["size_bytes"], old["partition"])
        delta.create_write_transaction(
            [new, gone], "append", delta.schema(), partition_by=list(old["partition"]), commit_properties=properties
        )

    files = len(lake.delta.file_uris())
    swap(first, CommitProperties())
    swap(second, CommitProperties())
    assert len(lake.delta.file_uris()) == files + 1, "one file has become two"
    with pytest.raises(CommitFailedError):
        swap(third, CommitProperties(max_commit_retries=0))
    fifth = lake.delta
    swap(lake.delta, CommitProperties(app_transactions=[Transaction(compact.APP, 1)]))
    with pytest.raises(CommitFailedError, match="Concurrent transaction"):
        swap(fifth, CommitProperties(app_transactions=[Transaction(compact.APP, 1)]))
    assert fourth.version() < lake.delta.version()


def test_a_commit_whose_reply_was_lost_is_not_made_twice(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = DeltaTable.create_write_transaction
    lost: list[bool] = []

    def without_reply(self: DeltaTable, *args: Any, **kwargs: Any) -> None:
        commit(self, *args, **kwargs)
        if len(lost) < 2:
            lost.append(True)
            raise CommitFailedError("the reply was lost")

    monkeypatch.setattr(DeltaTable, "create_write_transaction", without_reply)
    done = lake.compact()
    assert (done.hours, done.left, len(lost)) == (3, 0, 2)
    whole(lake)


def test_replaced_files_are_pruned_after_their_age_and_readers_of_an_earlier_version_are_served_till_then(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, rows = lake.delta.version(), sum(lake.landed.values())
    lake.compact()
    with duck.connect(lake.settings) as connection:

        def pinned() -> int:
            found = connection.execute(f"select count(*) from delta_scan('{lake.uri}', version={version})").fetchall()
            return int(found[0][0])

        assert lake.table.prune(1) == []
        assert pinned() == rows
        gone = lake.table.prune(0)  # what the command would not do: it asks for an hour or more
        assert len(gone) == 36
        with pytest.raises(duckdb.Error):
            pinned()
    whole(lake)


def test_a_compactor_that_was_frozen_for_long_commits_no_files_that_may_be_pruned(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hit(at: str) -> None:
        if at == "compact-before-commit":
            later = SimpleNamespace(**{**vars(time), "time": lambda: time.time() + 1900})
            monkeypatch.setattr(compact, "time", later)

    monkeypatch.setattr(failpoints, "hit", hit)
    done = lake.compact()
    assert (done.hours, done.left) == (2, 1)  # of the first hour it was late
    monkeypatch.undo()
    assert lake.compact().hours == 1
    whole(lake)


def test_the_command_says_what_it_would_do_and_did(lake: Lake, tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home")
    cli.env |= addressed(lake.settings).environment()
    assert cli.json("lake", "compact", "--dry-run")["compacted"]["bronze/plays"]["files_before"] == 36
    assert cli.json("lake", "compact")["compacted"]["bronze/plays"]["files_after"] == 3
    assert lake.files() == {"00": 1, "01": 1, "02": 1}
