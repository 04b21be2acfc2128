"""The target ``local``: dbt in a DuckDB file of its own, that nobody else opens."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import psutil

from playlake import log
from playlake.errors import PlaylakeError
from playlake.settings import Settings
from playlake.warehouse import duck

_log = log.get("warehouse")
_OUR_DBT = "playlake.warehouse.dbt_child"
_MOST_FILES = 500
"""With more new files than this, all are read: the rows that are new are told by their positions, files only help."""


class Local:
    """DuckDB as the warehouse of a build (:class:`playlake.warehouse.target.Target`)."""

    name = "local"

    def __init__(self, settings: Settings, home: Path) -> None:
        self._settings = settings
        self.folder = home
        self.database = home / "spotify_data.duckdb"
        self.target_path = home / "target"

    def pin(
        self, versions: Mapping[str, int], since: Mapping[str, int], _live: object, _say: Callable[[str], None]
    ) -> None:
        """Show each table of the lake to dbt as a view at one version, and what is new in it as another."""
        with self._opened() as connection:
            duck.configure(connection, self._settings)
            connection.execute("create schema if not exists bronze")
            for path, version in versions.items():
                with duck.reading(path):
                    self._show(connection, path, version, since.get(path))

    def _show(self, connection: duckdb.DuckDBPyConnection, path: str, version: int, since: int | None) -> None:
        table = path.rpartition("/")[2]
        uri = f"s3://{self._settings.s3_bucket}/{path}"
        connection.execute(
            f"create or replace view bronze.{table} as select * from delta_scan('{uri}', version={int(version)})"
        )
        new = _new_files(connection, uri, version, since) if since is not None else None
        connection.execute(
            f"create or replace view bronze.new_{table} as select * from bronze.{table}"
            if new is None
            else f"create or replace view bronze.new_{table} as"
            f" select * from delta_scan('{uri}', version={int(version)}) where {_among(new)}"
        )

    @contextmanager
    def _opened(self, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        try:
            try:
                opened = duckdb.connect(str(self.database), read_only=read_only)
            except duckdb.IOException as error:
                if read_only or not _ended_leftover(error):
                    raise
                opened = duckdb.connect(str(self.database))
            with duck.closing(opened) as connection:
                yield connection
        except duckdb.IOException as error:
            if holder := _holder(error):
                raise PlaylakeError(
                    f"{self.database} is held by process {holder.pid} ({_shown(holder)}). It is dbt's own file, which"
                    f" nobody else may have open: end that process (kill {holder.pid}), then run this again."
                ) from error
            raise PlaylakeError(
                f"{self.database} can't be opened ({duck.reason(error)}). It is dbt's own file: close"
                " what else has it open. If it is damaged, delete it: the next build makes it anew from the lake."
            ) from error

    def environment(self, *, inside: bool = False) -> dict[str, str]:
        """What ``dbt/profiles.yml`` asks for."""
        return {"DBT_PLAYLAKE_DATABASE": self.database.name if inside else str(self.database)}

    def can_be_read(self) -> bool:
        """Whether something was built, and the store runs that its views read."""
        return self.database.is_file() and (self._settings.profile != "embedded" or bool(self._settings.s3_endpoint))

    def counts(self, schema: str, tables: Iterable[str]) -> dict[str, int]:
        """Rows of tables and views of a schema."""
        with self._opened(read_only=True) as connection:
            connection.execute("set timezone = 'UTC'")
            return {table: _count(connection, schema, table) for table in tables}

    def copy_gold(
        self,
        into: duckdb.DuckDBPyConnection,
        tables: Mapping[str, Mapping[str, str]],
        _versions: Mapping[str, int],
    ) -> None:
        """Copy the file's gold into another."""
        copy_gold(self.database, into, tables)


def _holder(error: duckdb.IOException) -> psutil.Process | None:
    """The process that has the file, where DuckDB names one that still runs."""
    found = re.search(r"lock.*PID (\d+)", str(error))
    try:
        return psutil.Process(int(found[1])) if found else None
    except psutil.Error:
        return None


def _shown(holder: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(holder.cmdline())[:120]
    return "of another user"


def _ended_leftover(error: duckdb.IOException) -> bool:
    """End the dbt of a build that was killed, if that has the file. Who builds has the build's lock, so no build that
    lives can be its parent."""
    holder = _holder(error)
    try:
        if holder is None or _OUR_DBT not in holder.cmdline():
            return False
        holder.kill()
        holder.wait(10)
    except psutil.Error:
        return False
    _log.warning("ended dbt of a build that was killed", process=holder.pid)
    return True


def copy_gold(database: Path, into: duckdb.DuckDBPyConnection, tables: Iterable[str]) -> None:
    """Copy these tables of gold from one file into another; others may be left there of models that are no more."""
    into.execute(f"attach '{_quoted(str(database))}' as work (read_only)")
    for table in tables:
        into.execute(f'create table gold."{table}" as from work.gold."{table}"')
    into.execute("detach work")


def _new_files(connection: duckdb.DuckDBPyConnection, uri: str, version: int, since: int) -> list[str] | None:
    """The files of a table's version that an earlier one had not: all rows that came since, and maybe others that were
    written anew. None where they are many, or the log has forgotten the earlier one.
    """
    try:
        rows = connection.execute(
            f"select data_file from delta_list_files('{uri}', version={int(version)})"
            f" except select data_file from delta_list_files('{uri}', version={int(since)}) limit {_MOST_FILES + 1}"
        ).fetchall()
    except duckdb.Error:
        return None
    return None if len(rows) > _MOST_FILES else sorted(str(file) for (file,) in rows)


def _among(files: Iterable[str]) -> str:
    named = ", ".join(f"'{_quoted(file)}'" for file in files)
    return f"filename in ({named})" if named else "false"


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _count(connection: duckdb.DuckDBPyConnection, schema: str, table: str) -> int:
    row = connection.execute(f'select count(*) from "{schema}"."{table}"').fetchone()
    return int(row[0]) if row else 0
