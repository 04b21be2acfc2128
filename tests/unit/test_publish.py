"""Publishing gold: a reader always has one whole build, whatever happens to the next one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest

from playlake.errors import PlaylakeError, UnavailableError, UsageError
from playlake.warehouse import publish as publishing
from playlake.warehouse.local import copy_gold
from playlake.warehouse.publish import KEEP, current, publish, rollback
from playlake.warehouse.queries import QUERIES
from playlake.warehouse.reader import GoldReader
from tests.support.waiting import wait_for

BOTH = """
    select a.build as a, b.build as b, (select version from build_info) as version, a.n
    from gold.one as a join gold.other as b using (n)
    where a.n >= $least
    order by a.n
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "it's a warehouse"  # a quote, as names of folders may have one
    folder.mkdir()
    return folder


@pytest.fixture
def reader(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GoldReader]:
    monkeypatch.setitem(QUERIES, "both", BOTH)
    made = GoldReader(home)
    yield made
    made.close()


def build(home: Path, number: int, rows: int = 3) -> Path:
    """What dbt leaves behind: gold, of which every row has the build's number, and silver, which is not published."""
    path = home / "work.duckdb"
    with duckdb.connect(str(path)) as connection:
        for schema in ("silver", "gold"):
            connection.execute(f"create schema if not exists {schema}")
        for table in ("gold.one", "gold.other", "silver.plays"):
            connection.execute(
                f"create or replace table {table} as select n, {int(number)} as build from range({int(rows)}) as t(n)"
            )
    return path


def copied(work: Path, *tables: str) -> Callable[[duckdb.DuckDBPyConnection], None]:
    """What copies gold of dbt's file: the models that there are, whatever else is left in it."""
    return lambda into: copy_gold(work, into, tables or ("one", "other"))


def publish_build(home: Path, number: int, rows: int = 3) -> int:
    return publish(home, copied(build(home, number, rows)), {"bronze/plays": number})


def files(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "published").iterdir())


def gold(*numbers: int) -> list[str]:
    return sorted(["CURRENT", *(f"gold-{number:08d}.duckdb" for number in numbers)])


def version_read(reader: GoldReader) -> int:
    """The one version that a query sees."""
    [version] = {v for row in reader.query("both", least=0) for v in (row["a"], row["b"], row["version"])}
    return int(version)


def test_before_the_first_build(home: Path, reader: GoldReader) -> None:
    assert current(home) is None
    assert reader.version() is None
    with pytest.raises(UnavailableError, match="playlake build"):
        reader.query("build")


def test_builds_are_numbered(home: Path) -> None:
    assert [publish_build(home, number) for number in (1, 2, 3)] == [1, 2, 3]
    found = current(home)
    assert found is not None
    assert (found.version, found.path) == (3, home / "published" / "gold-00000003.duckdb")
    age = datetime.now(UTC) - datetime.fromisoformat(found.built_at)
    assert timedelta(seconds=-1) < age < timedelta(minutes=5)


def test_what_is_published(home: Path) -> None:
    publish_build(home, 1)
    found = current(home)
    assert found is not None
    with duckdb.connect(str(found.path), read_only=True) as connection:
        tables = connection.execute("select schema_name, table_name from duckdb_tables() order by all").fetchall()
        [(version, versions)] = connection.execute("select version, lake_versions from build_info").fetchall()
    assert tables == [("gold", "one"), ("gold", "other"), ("main", "build_info")]
    assert (version, json.loads(versions)) == (1, {"bronze/plays": 1})


def test_queries_have_parameters_and_rows_have_names(home: Path, reader: GoldReader) -> None:
    publish_build(home, 1)
    assert reader.query("both", least=2) == [{"a": 1, "b": 1, "version": 1, "n": 2}]
    assert reader.query("both", least=3) == []
    [row] = reader.query("build")
    assert row["version"] == 1
    assert row["built_at"].tzinfo is not None


def test_a_table_of_a_model_that_is_no_more_is_not_published(home: Path) -> None:
    work = build(home, 1)
    publish(home, copied(work, "one"), {})
    now = current(home)
    assert now is not None
    with duckdb.connect(str(now.path), read_only=True) as connection:
        assert connection.execute("select table_name from duckdb_tables() where schema_name = 'gold'").fetchall() == [
            ("one",)
        ]


def test_days_without_a_play_are_days_of_none(home: Path, reader: GoldReader) -> None:
    path = build(home, 1)
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "create table gold.user_daily_listening as from (values ('me', date '2021-12-30', 3, 60.0),"
            " ('you', date '2021-12-30', 2, 30.0), ('me', date '2022-01-03', 1, 6.0))"
            " as t(user_id, date, total_plays, total_minutes_listened)"
        )
    publish(home, copied(path, "user_daily_listening"), {"bronze/plays": 1})
    found = [(f"{r['date']:%m-%d}", r["plays"], round(r["hours"], 3)) for r in reader.query("plays_by_day")]
    assert found == [("12-30", 5, 1.5), ("12-31", 0, 0), ("01-01", 0, 0), ("01-02", 0, 0), ("01-03", 1, 0.1)]


def test_the_reader_moves_to_the_new_build(home: Path, reader: GoldReader) -> None:
    for number in (1, 2, 3):
        publish_build(home, number)
        assert reader.version() == number
        assert version_read(reader) == number


def test_a_closed_reader_opens_again(home: Path, reader: GoldReader) -> None:
    publish_build(home, 1)
    assert version_read(reader) == 1
    reader.close()
    assert version_read(reader) == 1


def test_old_builds_are_removed_but_the_last_few(home: Path) -> None:
    for number in range(1, KEEP + 3):
        publish_build(home, number)
    assert files(home) == gold(*range(3, KEEP + 3))


def test_nothing_but_current_and_the_builds_stays(home: Path) -> None:
    publish_build(home, 1)
    assert files(home) == gold(1)


def test_published_files_are_never_written_again(home: Path) -> None:
    publish_build(home, 1)
    first = home / "published" / gold(1)[1]
    before = (first.read_bytes(), first.stat().st_mtime_ns, first.stat().st_ino)
    publish_build(home, 2)
    assert (first.read_bytes(), first.stat().st_mtime_ns, first.stat().st_ino) == before


def test_cut_off_while_copying(home: Path, reader: GoldReader) -> None:
    publish_build(home, 1)
    for leftover in ("gold-00000002.duckdb.new", "gold-00000002.duckdb.new.wal", "gold-00000009.duckdb.new"):
        (home / "published" / leftover).write_bytes(b"half a database")
    assert version_read(reader) == 1
    assert publish_build(home, 2) == 2
    assert version_read(reader) == 2
    assert files(home) == gold(1, 2)


def test_cut_off_before_the_rename_of_current(home: Path, reader: GoldReader) -> None:
    publish_build(home, 1)
    (home / "published" / "gold-00000002.duckdb").write_bytes(b"whole, but never named")
    assert version_read(reader) == 1
    number = publish_build(home, 3)
    assert number > 2  # a name is never used for two contents
    assert reader.version() == number
    assert {row["a"] for row in reader.query("both", least=0)} == {3}


def test_a_build_that_can_not_be_copied_changes_nothing(home: Path, reader: GoldReader) -> None:
    publish_build(home, 1)
    (home / "broken.duckdb").write_bytes(b"no database" * 1000)
    with pytest.raises(PlaylakeError, match="so what was published before is still served"):
        publish(home, copied(home / "broken.duckdb"), {})
    assert files(home) == gold(1)
    assert version_read(reader) == 1
    assert publish_build(home, 2) == 2
    assert files(home) == gold(1, 2)


def test_a_build_whose_publishing_breaks_off_is_not_served(
    home: Path, reader: GoldReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is current changes by a rename of a file that is whole and synced, and by nothing before it."""
    publish_build(home, 1)

    def broken_off(path: Path) -> None:
        if path.name.startswith("CURRENT"):
            raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "_sync", broken_off)
        with pytest.raises(OSError, match="power cut"):
            publish_build(home, 2)
    assert version_read(reader) == 1
    assert publish_build(home, 3) == 3
    assert version_read(reader) == 3


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"{}", b'{"version": null, "file": 1}'])
def test_a_damaged_pointer_is_as_good_as_none(home: Path, reader: GoldReader, content: bytes) -> None:
    publish_build(home, 1)
    publish_build(home, 2)
    (home / "published" / "CURRENT").write_bytes(content)
    with pytest.raises(UnavailableError):
        reader.query("build")
    assert publish_build(home, 3) > 2  # also now, no name is used twice
    assert {row["a"] for row in reader.query("both", least=0)} == {3}


def test_numbers_do_not_go_back_with_a_damaged_pointer(home: Path) -> None:
    for number in range(1, KEEP + 2):
        publish_build(home, number)
    (home / "published" / "CURRENT").write_bytes(b"")
    assert publish_build(home, 9) > KEEP + 1  # the cache may still hold answers of build 1


def test_a_named_file_that_is_gone_is_told(home: Path, reader: GoldReader) -> None:
    publish_build(home, 1)
    (home / "published" / "gold-00000001.duckdb").unlink()
    with pytest.raises(UnavailableError, match="playlake build"):
        reader.query("build")


def test_reading_while_publishing(home: Path, reader: GoldReader) -> None:
    """Six read without a pause while builds are published: no error, never a mixture, never backwards."""
    publish_build(home, 1, rows=500)
    done = threading.Event()
    seen: list[list[int]] = [[] for _ in range(6)]
    problems: list[object] = []

    def read(mine: list[int], own: GoldReader) -> None:
        try:
            while not done.is_set() or not mine:
                rows: list[dict[str, Any]] = own.query("both", least=0)
                versions = {v for row in rows for v in (row["a"], row["b"], row["version"])}
                if len(rows) != 500 or len(versions) != 1:
                    problems.append((len(rows), versions))
                mine.append(versions.pop())
        except Exception as error:  # noqa: BLE001 - any error at all is what the test looks for
            problems.append(error)

    def all_at(number: int) -> bool:
        return bool(problems) or all(mine and mine[-1] == number for mine in seen)

    other = GoldReader(home)  # half of the threads share one, as the API and the dashboard have one each
    threads = [threading.Thread(target=read, args=(mine, (reader, other)[n % 2])) for n, mine in enumerate(seen)]
    for thread in threads:
        thread.start()
    try:
        for number in range(2, 14):
            assert publish_build(home, number, rows=500) == number
            wait_for(partial(all_at, number), every=0.01)
    finally:
        done.set()
        for thread in threads:
            thread.join()
        other.close()
    assert problems == []
    for mine in seen:
        assert mine == sorted(mine)
    assert version_read(reader) == 13


def test_going_back_serves_the_build_before(home: Path, reader: GoldReader) -> None:
    for number in (1, 2, 3):
        publish(home, copied(build(home, number)), {"bronze/plays": number}, build=number * 10)
    assert version_read(reader) == 3
    now = rollback(home)
    found = current(home)
    assert found == now
    assert (now.version, now.lake_versions, now.build) == (2, {"bronze/plays": 2}, 20)
    assert now.seen == {"bronze/plays": 3}  # not to be built from again
    assert datetime.fromisoformat(now.built_at).tzinfo is not None
    assert version_read(reader) == 2
    assert (rollback(home).version, version_read(reader)) == (1, 1)
    with pytest.raises(UsageError, match="none to go back to"):
        rollback(home)
    assert publish_build(home, 4) == 4  # no number is used twice, also not that of a build taken back
    assert version_read(reader) == 4
    assert files(home) == gold(1, 2, 3, 4)


def test_going_back_never_serves_a_build_that_was_taken_back(home: Path, reader: GoldReader) -> None:
    publish_build(home, 1)
    publish_build(home, 2)
    assert rollback(home).version == 1
    publish_build(home, 3)
    assert (rollback(home).version, version_read(reader)) == (1, 1)
    with pytest.raises(UsageError, match="none to go back to"):
        rollback(home)


def test_builds_taken_back_do_not_crowd_out_the_one_before_them(home: Path, reader: GoldReader) -> None:
    publish_build(home, 1)
    for number in range(2, KEEP + 4):
        assert publish_build(home, number) == number
        assert (rollback(home).version, version_read(reader)) == (1, 1)
    last = KEEP + 4
    publish_build(home, last)
    assert files(home) == gold(1, *range(last - KEEP + 1, last + 1))  # no more than that stay
    publish_build(home, last + 1)
    assert [rollback(home).version, rollback(home).version] == [last, 1]


def test_a_pointer_of_an_earlier_release_knows_of_none_taken_back(home: Path) -> None:
    publish_build(home, 1)
    publish_build(home, 2)
    pointer = home / "published" / "CURRENT"
    data = json.loads(pointer.read_text())
    del data["withdrawn"]
    pointer.write_text(json.dumps(data))
    publish_build(home, 3)
    assert rollback(home).version == 2


def test_going_back_before_the_first_build(home: Path) -> None:
    with pytest.raises(UsageError, match="nothing to go back from"):
        rollback(home)


def test_going_back_to_a_damaged_file_changes_nothing(home: Path, reader: GoldReader) -> None:
    publish_build(home, 1)
    publish_build(home, 2)
    (home / "published" / "gold-00000001.duckdb").write_bytes(b"no database" * 1000)
    with pytest.raises(PlaylakeError, match="build 2 stays current"):
        rollback(home)
    assert version_read(reader) == 2
