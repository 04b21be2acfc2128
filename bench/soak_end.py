"""The end of a soak: what is in the lake, and whether gold is what a rebuild makes of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
from deltalake import DeltaTable

from playlake import events
from playlake.lake import tables
from playlake.lake.options import storage_options
from playlake.settings import load_settings
from playlake.warehouse.build import folder
from playlake.warehouse.publish import current
from tests.support import Cli

_BUILDS = {"hourly": ("build",), "rebuilt": ("build", "--full-refresh")}


def ids(cli: Cli) -> set[str]:
    """Every event's id in the lake, by Delta's own reader."""
    settings = cli.settings()
    found: set[str] = set()
    for topic in (events.PLAYS, events.SKIPS, events.LIKES):
        uri = f"s3://{settings.s3_bucket}/{tables.FOLDERS[topic]}"
        table = DeltaTable(uri, storage_options=storage_options(settings))
        found.update(table.to_pyarrow_table(columns=["event_id"])["event_id"].to_pylist())
    return found


def compare_gold(cli: Cli, work: Path) -> dict[str, int]:
    """Build what is new, then all anew; by table of gold, the rows that only one of the two has.

    :raises AssertionError: when the two do not even have the same tables.
    """
    with duckdb.connect() as connection:
        names = []
        for name, command in _BUILDS.items():
            cli.json(*command, timeout=1200)
            published = current(folder(load_settings(_env_file=None, home=cli.home)))
            assert published
            copy = shutil.copyfile(published.path, work / f"{name}.duckdb")
            connection.execute(f"attach '{copy}' as {name} (read_only)")
            names.append(
                connection.execute(
                    "select table_name from duckdb_tables()"
                    " where database_name = ? and schema_name = 'gold' order by 1",
                    [name],
                ).fetchall()
            )
        assert names[0], "there is no gold"
        assert names[0] == names[1], f"gold's tables are not the same: {names}"
        found = {}
        for (table,) in names[0]:
            one, other = (f"select * from {name}.gold.{table}" for name in _BUILDS)
            query = f"select count(*) from (({one} except all {other}) union all ({other} except all {one}))"
            found[str(table)] = int(connection.execute(query).fetchall()[0][0])
        return found
