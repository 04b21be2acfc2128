"""What a Delta log must be after our commits: to us, and to another Delta library, on every store."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Schema, Transaction

from playlake import events
from playlake.errors import PlaylakeError
from playlake.lake import commit, log, tables
from playlake.lake.decode import Decoder
from playlake.lake.deliver import FencedError
from playlake.lake.options import storage_options
from playlake.lake.schema import bronze_rows
from playlake.lake.store import Store
from playlake.lake.table import Table, WriteFailedError
from playlake.records import Run
from playlake.settings import Settings
from tests.support import lake_of_its_own

HOUR_MS = 3_600_000


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """A running store of each kind, with a bucket of the test's own."""
    return lake_of_its_own(settings, tmp_path)


@pytest.fixture
def table(settings: Settings) -> Table:
    made = tables.bronze(settings, events.PLAYS)
    made.open()
    return made


def rows(*offsets: int) -> pa.Table:
    """Events, each an hour after the one before."""
    known = {
        **dict.fromkeys(("event_id", "user_id", "track_id", "track_name", "artist_name"), "x"),
        **dict.fromkeys(("album_name", "duration_ms", "device_type")),
        **{"event_type": "play", "played_at": "2026-01-01T00:00:00Z"},
    }
    at = [1_767_225_600_000 + offset * HOUR_MS for offset in offsets]
    bodies = [json.dumps(known).encode() for _ in offsets]
    run = Run.of(events.PLAYS, 0, list(offsets), at, [None] * len(at), bodies)
    return bronze_rows(events.PLAYS, Decoder(events.PLAYS).decode([run]).rows, "id")


def of(table: Table, settings: Settings, version: int | None = None) -> DeltaTable:
    """The table as deltalake reads it."""
    return DeltaTable(table.uri, version=version, storage_options=storage_options(settings))


def offsets(delta: DeltaTable) -> list[int]:
    return sorted(delta.to_pyarrow_table(columns=["_kafka_offset"])["_kafka_offset"].to_pylist())


def test_another_library_reads_what_was_appended(table: Table, settings: Settings) -> None:
    assert table.append(rows(0, 1), {"a": None}, {"a": 2}) == 1
    assert table.append(rows(2), {"a": 2}, {"a": 3, "b": 7}) == 2
    assert table.append(rows(), {"a": 3}, {"a": 9}) == 3  # positions alone
    theirs = of(table, settings)
    assert (theirs.version(), offsets(theirs), table.rows()) == (3, [0, 1, 2], 3)
    assert (theirs.transaction_version("a"), theirs.transaction_version("b")) == (9, 7)
    assert offsets(of(table, settings, 1)) == [0, 1]
    assert len(theirs.file_uris(file_pruning_predicate=[("hour", "=", "01")])) == 1
    first = theirs.history(4)[-2]
    assert (first["operation"], first["engineInfo"].partition("/")[0]) == ("WRITE", "playlake")


def test_what_another_library_commits_is_seen(table: Table, settings: Settings) -> None:
    table.append(rows(0), {"a": None}, {"a": 1})
    beside = of(table, settings)
    beside.alter.add_columns(Schema.from_arrow(pa.schema([pa.field("mood", pa.string())])).fields)
    beside.create_write_transaction(
        [], "append", beside.schema(), commit_properties=CommitProperties(app_transactions=[Transaction("a", 5)])
    )
    with pytest.raises(FencedError, match="expected 1, the table has 5"):
        table.append(rows(1), {"a": 1}, {"a": 2})
    assert table.added_columns == {"mood": pa.string()}
    assert table.append(rows(5), {"a": 5}, {"a": 6}) == 4
    assert offsets(of(table, settings)) == [0, 5]


def test_writers_of_partitions_of_their_own_all_get_in(table: Table, settings: Settings) -> None:
    def write(number: int) -> None:
        one = tables.bronze(settings, events.PLAYS)
        for n in range(10):
            one.append(rows(100 * number + n), {f"p{number}": n or None}, {f"p{number}": n + 1})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    theirs = of(table, settings)
    assert theirs.version() == 40
    assert offsets(theirs) == [100 * number + n for number in range(4) for n in range(10)]


def test_of_writers_of_one_partition_one_gets_in(table: Table, settings: Settings) -> None:
    def write(number: int) -> bool:
        one = tables.bronze(settings, events.PLAYS)
        one.open()
        try:
            one.append(rows(number), {"a": None}, {"a": 1})
        except FencedError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(write, range(6)))
    assert found.count(True) == 1
    assert offsets(of(table, settings)) == [found.index(True)]


@pytest.mark.parametrize("lost", ["reply", "all replies"])
def test_a_reply_that_is_lost_doubles_nothing(
    table: Table, settings: Settings, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """The client tries again and is refused by what it has put itself, or gives up and does not know."""
    put = Store.put_new

    def without_reply(store: Store, key: str, body: bytes) -> bool:
        assert put(store, key, body)
        if lost == "reply":
            return put(store, key, body)
        raise store.failed("writing to it", TimeoutError("no reply"))

    monkeypatch.setattr(Store, "put_new", without_reply)
    if lost == "reply":
        assert table.append(rows(0), {"a": None}, {"a": 1}) == 1
    else:
        with pytest.raises(WriteFailedError, match="still in Kafka"):
            table.append(rows(0), {"a": None}, {"a": 1})
        table.refresh()
        assert table.position("a") == 1
    monkeypatch.undo()
    assert table.append(rows(1), {"a": 1}, {"a": 2}) == 2
    assert offsets(of(table, settings)) == [0, 1]


def test_a_log_is_opened_at_its_checkpoint(settings: Settings) -> None:
    often = tables.bronze(settings.model_copy(update={"checkpoint_versions": 5}), events.PLAYS)
    often.open()
    for n in range(12):
        often.append(rows(n), {"a": n or None}, {"a": n + 1})
    store = Store(settings)
    for version in range(10):  # as a cleaned log is
        store.delete(log.entry(often.folder, version))
    again = tables.bronze(settings, events.PLAYS)
    again.open()
    assert (again.version, again.position("a")) == (12, 12)
    assert again.added_columns == {}
    store.delete(f"{often.folder}/_delta_log/_last_checkpoint")
    assert again.is_there(), "found by listing the log"
    assert again.append(rows(12), {"a": 12}, {"a": 13}) == 13
    assert offsets(of(again, settings)) == list(range(13))


def test_who_has_slept_through_the_cleaning_of_the_log_opens_it_anew(
    settings: Settings, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next entry is gone, and is not taken for one that is to be made."""
    often = tables.bronze(settings.model_copy(update={"checkpoint_versions": 5}), events.PLAYS)
    for n in range(7):
        often.append(rows(n), {"a": n or None}, {"a": n + 1})
    for version in range(5):
        Store(settings).delete(log.entry(often.folder, version))
    later = time.time() + 31 * 86_400
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(FencedError, match="the table has 7"):
        table.append(rows(0), {"a": None}, {"a": 1})
    assert offsets(of(table, settings)) == list(range(7))


def test_a_log_with_a_hole_is_not_written_to(table: Table, settings: Settings) -> None:
    for n in range(3):
        table.append(rows(n), {"a": n or None}, {"a": n + 1})
    Store(settings).delete(log.entry(table.folder, 0))
    with pytest.raises(WriteFailedError, match="the log has no version 0"):
        tables.bronze(settings, events.PLAYS).open()


def test_a_table_that_asks_for_more_is_left_alone(table: Table, settings: Settings) -> None:
    of(table, settings).alter.add_constraint({"old": "duration_ms < 10"})
    with pytest.raises(PlaylakeError, match="asks of its writers what playlake does not do") as told:
        table.append(rows(0), {"a": None}, {"a": 1})
    assert len(str(told.value).splitlines()) <= 2
    assert of(table, settings).version() == 1
    assert not [key for key in Store(settings).keys(table.folder) if key.endswith(".parquet")], "nothing is put first"
    assert offsets(of(table, settings)) == []


def test_who_is_never_first_gives_up(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse: Callable[..., bool] = lambda *_: False  # noqa: E731
    monkeypatch.setattr(Store, "put_new", refuse)
    monkeypatch.setattr(commit, "_PAUSE_S", 0)
    with pytest.raises(FencedError, match="others were first"):
        table.append(rows(0), {"a": None}, {"a": 1})
