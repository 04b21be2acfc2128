"""What a Delta log must be after our commits: to us, and to another Delta library, on every store."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable, Schema, Transaction

from playlake import events
from playlake.errors import PlaylakeError
from playlake.lake import checkpoint, commit, log, tables
from playlake.lake import columns as words
from playlake.lake.decode import Decoder
from playlake.lake.deliver import FencedError
from playlake.lake.options import storage_options
from playlake.lake.schema import PARTITION_COLUMNS, bronze_rows
from playlake.lake.store import Object, Store
from playlake.lake.table import Table, WriteFailedError
from playlake.records import Run
from playlake.settings import Settings
from tests.support.lakes import drop_bucket, lake_of_its_own

HOUR_MS = 3_600_000


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Iterator[Settings]:
    """A running store of each kind, with a bucket of the test's own; a store may have room for some dozens only."""
    own = lake_of_its_own(settings, tmp_path)
    yield own
    drop_bucket(own)


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


@pytest.mark.parametrize("kind", [tables.log_gaps, tables.dead_letters, lambda s: tables.bronze(s, events.PLAYS)])
def test_a_table_is_made_as_another_library_makes_it(settings: Settings, kind: Callable[[Settings], Table]) -> None:
    made = kind(settings)
    made.open()
    folders = [name for name in PARTITION_COLUMNS if name in made.schema.names]
    beside = DeltaTable.create(
        f"{made.uri}-beside",
        made.schema,
        partition_by=folders,
        storage_options=storage_options(settings),
        configuration={"delta.checkpointInterval": str(settings.checkpoint_versions)},
    )
    ours = of(made, settings)
    assert (ours.version(), made.is_empty()) == (0, True)
    assert ours.schema().to_json() == beside.schema().to_json() == words.to_log(made.schema)
    assert ours.protocol() == beside.protocol()
    told = [
        (of.name, of.description, of.partition_columns, of.configuration) for of in (ours.metadata(), beside.metadata())
    ]
    assert told[0] == told[1]


def test_of_those_that_make_a_table_at_once_one_does(settings: Settings) -> None:
    many = [tables.bronze(settings, events.PLAYS) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(Table.open, many))
    assert [table.version for table in many] == [0] * 6
    assert {of(table, settings).metadata().id for table in many} == {of(many[0], settings).metadata().id}


def test_a_column_of_a_type_that_is_none_of_ours(table: Table, settings: Settings) -> None:
    other = pa.schema([pa.field("price", pa.decimal128(9, 2)), pa.field("mood", pa.string())])
    of(table, settings).alter.add_columns(Schema.from_arrow(other).fields)
    table.refresh()
    assert table.added_columns == {"price": pa.decimal128(9, 2), "mood": pa.string()}


def test_a_checkpoint_that_can_not_be_made_stops_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its process is killed, or meets a log that can't be read: the next one will be made."""
    often = tables.bronze(settings.model_copy(update={"checkpoint_versions": 2}), events.PLAYS)
    often.open()
    with monkeypatch.context() as broken:
        script = Path(settings.home) / "killed"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text("#!/bin/sh\nkill -9 $$\n")
        script.chmod(0o700)
        broken.setattr(sys, "executable", str(script))
        for n in range(2):
            often.append(rows(n), {"a": n or None}, {"a": n + 1})
    assert "no checkpoint could be made" in "".join(capfd.readouterr())  # a command before may have set up the log
    with pytest.raises(OSError, match=r"No files|Not a Delta table|not found") as told:
        checkpoint.make(f"{often.uri}-nowhere", storage_options(settings))
    assert len(str(told.value).splitlines()) == 1
    for n in range(2, 4):
        often.append(rows(n), {"a": n}, {"a": n + 1})
    assert f"{often.folder}/_delta_log/_last_checkpoint" in Store(settings).keys(often.folder)


def test_another_library_reads_what_was_appended(table: Table, settings: Settings) -> None:
    assert table.append(rows(0, 1), {"a": None}, {"a": 2}) == 1
    assert table.append(rows(2), {"a": 2}, {"a": 3, "b": 7}) == 2
    assert table.append(rows(), {"a": 3}, {"a": 9}) == 3  # positions alone
    theirs = of(table, settings)
    assert (theirs.version(), offsets(theirs), table.is_empty()) == (3, [0, 1, 2], False)
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


@pytest.mark.parametrize("gone", [6, 7, 8])
def test_a_hole_after_the_checkpoint_is_not_filled(settings: Settings, gone: int) -> None:
    """What the hole hides may come back, and would then be there twice."""
    often = tables.bronze(settings.model_copy(update={"checkpoint_versions": 5}), events.PLAYS)
    often.open()
    for n in range(9):
        often.append(rows(n), {"a": n or None}, {"a": n + 1})
    Store(settings).delete(log.entry(often.folder, gone))
    with pytest.raises(WriteFailedError, match=f"the log has no version {gone} though it has version 9"):
        tables.bronze(settings, events.PLAYS).open()


def test_a_checkpoint_that_is_not_told_is_found(settings: Settings) -> None:
    """The pointer is of an earlier one, and the entries between are cleaned up."""
    often = tables.bronze(settings.model_copy(update={"checkpoint_versions": 5}), events.PLAYS)
    often.open()
    store, pointer = Store(settings), f"{often.folder}/_delta_log/_last_checkpoint"
    for n in range(12):
        if n == 7:
            told = store.read(pointer)
        often.append(rows(n), {"a": n or None}, {"a": n + 1})
    store.write(pointer, told)
    for version in range(10):
        store.delete(log.entry(often.folder, version))
    again = tables.bronze(settings, events.PLAYS)
    again.open()
    assert (again.version, again.position("a")) == (12, 12)


def test_half_a_checkpoint_in_parts_is_none(table: Table, settings: Settings) -> None:
    """Whoever writes it in parts may have come no further."""
    for n in range(4):
        table.append(rows(n), {"a": n or None}, {"a": n + 1})
    of(table, settings).create_checkpoint()
    store, prefix = Store(settings), f"{table.folder}/_delta_log/"
    whole = pq.read_table(pa.BufferReader(store.read(f"{prefix}{4:020}.checkpoint.parquet")))
    half = pa.BufferOutputStream()
    pq.write_table(whole.filter(pa.compute.is_null(whole["txn"])), half)
    store.delete(f"{prefix}{4:020}.checkpoint.parquet")
    store.delete(f"{prefix}_last_checkpoint")
    store.write(f"{prefix}{4:020}.checkpoint.{1:010}.{2:010}.parquet", half.getvalue().to_pybytes())
    state = log.read(store, table.folder)
    assert (state.version, state.positions, len(state.files), state.faults) == (4, {"a": 4}, 4, [])


def test_an_entry_that_comes_while_the_log_is_listed_is_no_hole(
    table: Table, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list is made page by page: a later version may be in it, and one before not."""
    for n in range(3):
        table.append(rows(n), {"a": n or None}, {"a": n + 1})
    real = Store.listing

    def listing(self: Store, prefix: str) -> dict[str, Object]:
        return {key: one for key, one in real(self, prefix).items() if not key.endswith(f"{2:020}.json")}

    monkeypatch.setattr(Store, "listing", listing)
    state = log.read(Store(settings), table.folder)
    assert (state.faults, state.version, state.positions["a"]) == ([], 3, 3)


def test_a_column_that_asks_for_more_is_not_written_to(table: Table, settings: Settings) -> None:
    """Named in the column's own metadata, as the specification has it."""
    store = Store(settings)
    first = store.read(log.entry(table.folder, 0)).decode().splitlines()
    meta = next(json.loads(line)["metaData"] for line in first if "metaData" in line)
    every = ["delta.invariants", "delta.generationExpression", "delta.identity.start", "delta.columnMapping.id"]
    for version, asks in enumerate(every, 1):
        schema = json.loads(meta["schemaString"])
        schema["fields"][0]["metadata"][asks] = "1"
        entry = {"metaData": {**meta, "schemaString": json.dumps(schema)}}
        store.write(log.entry(table.folder, version), json.dumps(entry).encode())
        with pytest.raises(PlaylakeError, match=f"asks of its writers .*{asks.rpartition('.')[0]}"):
            table.append(rows(0), {"a": None}, {"a": 1})
    assert not [key for key in store.keys(table.folder) if key.endswith(".zstd.parquet")]


def test_a_log_that_is_kept_for_minutes_is_not_written_to(table: Table, settings: Settings) -> None:
    """Who has not looked for an hour would put an entry where one was cleaned up."""
    of(table, settings).alter.set_table_properties({"delta.logRetentionDuration": "interval 90 minutes"})
    with pytest.raises(PlaylakeError, match="logRetentionDuration of less than two hours"):
        table.append(rows(0), {"a": None}, {"a": 1})
    of(table, settings).alter.set_table_properties({"delta.logRetentionDuration": "interval 7 days"})
    table.append(rows(0), {"a": None}, {"a": 1})


def test_two_versions_without_files_are_never_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its bytes a writer knows its own entry again, whose reply was lost: another's must have others."""
    monkeypatch.setattr(time, "time", lambda: 1.0)
    assert commit.body([], [], {"a": 1}) != commit.body([], [], {"a": 1})


def test_a_checkpoint_that_is_made_while_the_log_is_read_is_no_fault(
    table: Table, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not in the list that was made before, and told by what is read after."""
    table.append(rows(0), {"a": None}, {"a": 1})
    real = Store.listing

    def listing(self: Store, prefix: str) -> dict[str, Object]:
        found = real(self, prefix)
        of(table, settings).create_checkpoint()
        return found

    monkeypatch.setattr(Store, "listing", listing)
    state = log.read(Store(settings), table.folder)
    assert (state.faults, state.version, state.positions["a"]) == ([], 1, 1)


def test_a_table_that_asks_for_more_is_left_alone(table: Table, settings: Settings) -> None:
    of(table, settings).alter.add_constraint({"old": "duration_ms < 10"})
    with pytest.raises(PlaylakeError, match="asks of its writers what playlake does not do") as told:
        table.append(rows(0), {"a": None}, {"a": 1})
    assert len(str(told.value).splitlines()) <= 2
    assert "delta.constraints.old" in str(told.value)
    assert of(table, settings).version() == 1
    assert not [key for key in Store(settings).keys(table.folder) if key.endswith(".parquet")], "nothing is put first"
    assert offsets(of(table, settings)) == []
    of(table, settings).create_checkpoint()
    again = tables.bronze(settings, events.PLAYS)
    with pytest.raises(PlaylakeError, match=r"delta\.constraints\.old"):
        again.append(rows(0), {"a": None}, {"a": 1})
    of(table, settings).alter.drop_constraint("old")
    for one in (table, again):
        one.refresh()
        one.append(rows(0), {"a": one.position("a")}, {"a": (one.position("a") or 0) + 1})
    assert offsets(of(table, settings)) == [0, 0], "the version stays at 3, and asks for nothing any more"


def test_who_is_never_first_gives_up(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse: Callable[..., bool] = lambda *_: False  # noqa: E731
    monkeypatch.setattr(Store, "put_new", refuse)
    monkeypatch.setattr(commit, "_PAUSE_S", 0)
    with pytest.raises(FencedError, match="others were first"):
        table.append(rows(0), {"a": None}, {"a": 1})
