"""What a build is shown of bronze: each table at one version, and what came in files since an earlier one."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from playlake import events
from playlake.errors import PlaylakeError
from playlake.lake import tables
from playlake.lake.deliver import app_id
from playlake.lake.options import storage_options
from playlake.lake.schema import PARTITION_COLUMNS
from playlake.lake.table import WriteFailedError
from playlake.settings import Settings
from playlake.warehouse import bronze as looking
from playlake.warehouse import duck, local
from playlake.warehouse.local import Local
from tests.models.warehouse import Message, bronze_rows, play
from tests.support.scraping import free_port

FOLDER = "bronze/plays"
APP = app_id(events.PLAYS, "t", 0)


def rows(*offsets: int) -> pa.Table:
    """Plays at these offsets."""
    good = [
        (Message(events.PLAYS, 0, n, 1_767_225_600_000), play("2026-01-01 10:00:00", event_id=str(n))) for n in offsets
    ]
    return bronze_rows(events.PLAYS, good, "t").drop_columns(list(PARTITION_COLUMNS))


class Bronze:
    """The plays of a lake, and how a build sees them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.table = tables.bronze(settings, events.PLAYS)
        self.next = 0
        self.warehouse = Local(settings, settings.home_path)
        settings.home_path.mkdir(parents=True)

    def land(self, count: int) -> int:
        """So many rows in one commit; the table's version then."""
        before, self.next = self.next, self.next + count
        return self.table.append(rows(*range(before, self.next)), {APP: before or None}, {APP: self.next})

    def seen(self, version: int, since: int | None) -> tuple[list[int], list[int]]:
        """The offsets of all rows, and of those that are shown as new."""
        self.warehouse.pin({FOLDER: version}, {} if since is None else {FOLDER: since}, None, lambda _text: None)
        with duck.closing(duckdb.connect(str(self.warehouse.database))) as connection:
            duck.configure(connection, self.settings)
            found = [
                connection.execute(f"select _kafka_offset from bronze.{name} order by 1").fetchall()
                for name in ("plays", "new_plays")
            ]
        return [n for (n,) in found[0]], [n for (n,) in found[1]]

    @property
    def delta(self) -> DeltaTable:
        """The table itself."""
        uri = f"s3://{self.settings.s3_bucket}/{FOLDER}"
        return DeltaTable(uri, storage_options=storage_options(self.settings))


@pytest.fixture
def bronze(lake_settings: Settings) -> Bronze:
    return Bronze(lake_settings)


def test_new_is_what_came_since(bronze: Bronze) -> None:
    first, second, third = bronze.land(3), bronze.land(2), bronze.land(1)
    assert bronze.seen(third, first) == ([0, 1, 2, 3, 4, 5], [3, 4, 5])
    assert bronze.seen(second, first) == ([0, 1, 2, 3, 4], [3, 4])
    assert bronze.seen(third, third) == ([0, 1, 2, 3, 4, 5], [])


def test_without_an_earlier_version_all_is_new(bronze: Bronze) -> None:
    assert bronze.seen(bronze.land(3), None) == ([0, 1, 2], [0, 1, 2])


def test_what_a_compaction_wrote_anew_is_new_too(bronze: Bronze) -> None:
    first = bronze.land(3)
    bronze.land(2)
    bronze.delta.optimize.compact()
    bronze.table.refresh()
    last = bronze.land(1)
    everything, new = bronze.seen(last, first)
    assert everything == [0, 1, 2, 3, 4, 5]
    assert set(new) >= {3, 4, 5}


def test_where_the_log_has_forgotten_the_version_all_is_new(bronze: Bronze) -> None:
    last = bronze.land(3)
    assert bronze.seen(last, last + 1000) == ([0, 1, 2], [0, 1, 2])


def test_of_many_files_all_are_read(bronze: Bronze, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_MOST_FILES", 1)
    first, _, last = bronze.land(1), bronze.land(1), bronze.land(1)
    assert bronze.seen(last, first) == ([0, 1, 2], [0, 1, 2])


def test_a_store_that_is_gone_is_said_in_words(bronze: Bronze) -> None:
    """It goes between two steps of a build: whoever builds again and again is to try again, not to end with a bug."""
    last = bronze.land(3)
    bronze.seen(last, None)
    away = bronze.settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{free_port()}"})
    user, source = "u", "simulator"
    for ask in (
        lambda: Local(away, away.home_path).pin({FOLDER: last}, {FOLDER: 0}, None, lambda _text: None),
        lambda: looking.counts(away, {FOLDER: last}),
        lambda: looking.known_events(away, FOLDER, user, source),
    ):
        with pytest.raises(PlaylakeError, match="The lake's bronze/plays can't be read: IO Error"):
            ask()
    with pytest.raises(WriteFailedError, match="could not be read"):
        tables.rows_at(away, FOLDER, last)
