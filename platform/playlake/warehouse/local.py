"""The target ``local``: dbt in a DuckDB file of its own, that nobody else opens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import duckdb

from playlake.errors import PlaylakeError
from playlake.settings import Settings
from playlake.warehouse import duck


class Local:
    """DuckDB as the warehouse of a build (:class:`playlake.warehouse.target.Target`)."""

    name = "local"

    def __init__(self, settings: Settings, home: Path) -> None:
        self._settings = settings
        self.database = home / "spotify_data.duckdb"
        self.target_path = home / "target"

    def pin(self, versions: Mapping[str, int], _live: object, _say: Callable[[str], None]) -> None:
        """Show each table of the lake to dbt as a view at one version."""
        try:
            connection = duckdb.connect(str(self.database))
        except duckdb.IOException as error:
            raise PlaylakeError(
                f"{self.database} can't be opened ({' '.join(str(error).split())[:200]}). It is dbt's own file: close"
                " what else has it open. If it is damaged, delete it: the next build makes it anew from the lake."
            ) from error
        with duck.closing(connection):
            duck.configure(connection, self._settings)
            connection.execute("create schema if not exists bronze")
            for path, version in versions.items():
                table = path.rpartition("/")[2]
                connection.execute(
                    f"create or replace view bronze.{table} as"
                    f" select * from delta_scan('s3://{self._settings.s3_bucket}/{path}', version={int(version)})"
                )

    def environment(self) -> dict[str, str]:
        """What ``dbt/profiles.yml`` asks for."""
        return {"DBT_PLAYLAKE_DATABASE": str(self.database)}

    def can_be_read(self) -> bool:
        """Whether something was built, and the store runs that its views read."""
        return self.database.is_file() and (self._settings.profile != "embedded" or bool(self._settings.s3_endpoint))

    def counts(self, schema: str, tables: Iterable[str]) -> dict[str, int]:
        """Rows of tables and views of a schema."""
        with duck.closing(duckdb.connect(str(self.database), read_only=True)) as connection:
            connection.execute("set timezone = 'UTC'")
            return {table: _count(connection, schema, table) for table in tables}

    def copy_gold(
        self,
        into: duckdb.DuckDBPyConnection,
        _tables: Mapping[str, Mapping[str, str]],
        _versions: Mapping[str, int],
    ) -> None:
        """Copy the file's gold into another."""
        copy_gold(self.database, into)


def copy_gold(database: Path, into: duckdb.DuckDBPyConnection) -> None:
    """Copy the tables of gold from one file into another."""
    into.execute(f"attach '{str(database).replace(chr(39), chr(39) * 2)}' as work (read_only)")
    tables = into.execute(
        "select table_name from duckdb_tables() where database_name = 'work' and schema_name = 'gold'"
    ).fetchall()
    for (table,) in tables:
        into.execute(f'create table gold."{table}" as from work.gold."{table}"')
    into.execute("detach work")


def _count(connection: duckdb.DuckDBPyConnection, schema: str, table: str) -> int:
    row = connection.execute(f'select count(*) from "{schema}"."{table}"').fetchone()
    return int(row[0]) if row else 0
