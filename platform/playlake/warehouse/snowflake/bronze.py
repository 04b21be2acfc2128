"""Bronze on Snowflake: tables that hold exactly the live files of one Delta version.

Before a build each table is brought to the version that the build reads, by the difference between the Delta log and
what the table has, so that a compacted file's rows are never seen twice. What each holds is written down in
``BRONZE.LAKE_VERSIONS``; docs/adr/0007 says why this way.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from playlake.errors import PlaylakeError
from playlake.settings import Settings
from playlake.warehouse import duck
from playlake.warehouse.snowflake import ddl
from playlake.warehouse.snowflake.connection import query
from playlake.warehouse.snowflake.options import Snowflake
from playlake.warehouse.snowflake.sql import fingerprint, literal

Say = Callable[[str], None]
_AT_ONCE = 500
"""Files named in one statement."""


class Live(Protocol):
    """What the Delta log says of one version of a table (``playlake.lake.table.Live`` is one)."""

    @property
    def schema(self) -> pa.Schema: ...
    @property
    def files(self) -> Mapping[str, int]: ...  # rows, by the path below the table's folder
    @property
    def first(self) -> datetime | None: ...  # of _kafka_timestamp
    @property
    def last(self) -> datetime | None: ...


LiveFiles = Callable[[str, int], Live]
"""The live files of a folder of the lake at a version."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a table of bronze holds; ``version`` is None where a change was broken off."""

    version: int | None
    columns: str


def shown(connection: Any, options: Snowflake) -> dict[str, Shown]:
    """By folder, what bronze holds now."""
    rows = query(connection, f"SELECT folder, delta_version, columns FROM {ddl.versions(options)}")
    return {str(f): Shown(None if v is None else int(v), str(c)) for f, v, c in rows}


def show(
    connection: Any, settings: Settings, options: Snowflake, versions: Mapping[str, int], live: LiveFiles, say: Say
) -> None:
    """Bring every table of bronze to its version.

    :raises PlaylakeError: when a table then does not hold what the log says.
    """
    before = shown(connection, options)
    for folder, version in versions.items():
        found = live(folder, version)
        columns = fingerprint(found.schema)
        has = before.get(folder)
        if has == Shown(version, columns):
            continue
        say(f"showing {folder} to Snowflake at version {version}")
        # Written down first: whoever comes after a change that was broken off must not take it for whole.
        _note(connection, options, folder, None, columns, found)
        if has is None or has.columns != columns:
            query(connection, ddl.table(options, folder, found.schema, replace=True))
        if options.bronze == "loaded":
            _load(connection, settings, options, folder, found)
        elif options.bronze == "delta":
            query(connection, f"ALTER ICEBERG TABLE {ddl.name(options, folder)} REFRESH")
        else:
            for statement in changes(options, folder, _registered(connection, options, folder), found.files):
                query(connection, statement)
        _check(connection, options, folder, found)
        _note(connection, options, folder, version, columns, found)


def changes(options: Snowflake, folder: str, has: frozenset[str], wanted: Mapping[str, int]) -> Iterator[str]:
    """The statements that bring an external table from the files it has to those wanted."""
    for verb, files in (("REMOVE", sorted(has - wanted.keys())), ("ADD", sorted(wanted.keys() - has))):
        for part in _parts(files):
            listed = ", ".join(map(literal, part))
            yield f"ALTER EXTERNAL TABLE {ddl.name(options, folder)} {verb} FILES ({listed})"


def _parts(files: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(files), _AT_ONCE):
        yield files[start : start + _AT_ONCE]


def _registered(connection: Any, options: Snowflake, folder: str) -> frozenset[str]:
    """The files that an external table has, by their path below its folder."""
    rows = query(
        connection,
        f"SELECT file_name FROM TABLE({options.database}.INFORMATION_SCHEMA.EXTERNAL_TABLE_FILES("
        f"TABLE_NAME => {literal(ddl.name(options, folder))}))",
    )
    return frozenset(below(folder, str(path)) for (path,) in rows)


def below(folder: str, path: str) -> str:
    """A file's path below its table's folder, be it named from there, from the stage's root or from the bucket."""
    return path.rpartition(f"{folder}/")[2]


def _load(connection: Any, settings: Settings, options: Snowflake, folder: str, found: Live) -> None:
    """Copy the live files' rows into an ordinary table: what a server without external tables can have."""
    where = ddl.name(options, folder)
    query(connection, f"DELETE FROM {where}")
    if not found.files:
        return
    base = f"s3://{settings.s3_bucket}/{folder}/"
    files = ", ".join("'" + (base + path).replace("'", "''") + "'" for path in found.files)
    columns = ", ".join(f'"{f.name}"::{_duck_type(f.type)} as "{f.name}"' for f in found.schema)
    with tempfile.TemporaryDirectory(prefix="playlake-") as made:
        file = Path(made) / f"{folder.replace('/', '-')}-{id(found)}.parquet"
        with duck.connect(settings) as local, duck.reading(folder):
            local.execute(
                f"copy (select {columns} from read_parquet([{files}], hive_partitioning = true,"
                f" hive_types_autocast = false)) to '{file}' (format parquet)"
            )
        loading = f"{options.database}.BRONZE.LOADING"
        query(connection, f"CREATE OR REPLACE STAGE {loading}")  # empty, whatever was left in it
        query(connection, f"PUT 'file://{file}' @{loading} AUTO_COMPRESS = FALSE")
        query(
            connection,
            f"COPY INTO {where} FROM @{loading} FILE_FORMAT = (TYPE = PARQUET)"
            " MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE FORCE = TRUE",
        )


def _duck_type(kind: pa.DataType) -> str:
    names = {pa.types.is_timestamp: "timestamptz", pa.types.is_integer: "bigint", pa.types.is_floating: "double"}
    names |= {pa.types.is_boolean: "boolean", pa.types.is_binary: "blob"}
    return next((name for test, name in names.items() if test(kind)), "varchar")


def _check(connection: Any, options: Snowflake, folder: str, found: Live) -> None:
    """Snowflake leaves out, without an error, a file that it can't read; and times are read by its own rules."""
    where = ddl.name(options, folder)
    rows = query(connection, f"SELECT COUNT(*), MIN(_kafka_timestamp), MAX(_kafka_timestamp) FROM {where}")
    count, first, last = rows[0]
    wanted = sum(found.files.values())
    # Read by Snowflake itself, the table may be ahead of the version that the build was begun with.
    if int(count) != wanted and not (options.bronze == "delta" and int(count) > wanted):
        raise PlaylakeError(
            f"{where} shows {int(count):,} rows where the lake's log has {wanted:,}: a file could not be read, or"
            " another build is changing the table. Run this again; `playlake lake verify` checks the files."
        )
    for seen, said in ((first, found.first), (last, found.last)):
        if seen is not None and said is not None and abs(seen - said) > timedelta(milliseconds=1):
            if options.bronze == "delta" and seen > said:
                continue
            raise PlaylakeError(
                f"{where} shows {seen} as a time where the lake's log has {said}: Snowflake reads its times otherwise"
                " than they were written. This is a bug: nothing was built from it."
            )


def _note(connection: Any, options: Snowflake, folder: str, version: int | None, columns: str, found: Live) -> None:
    where = ddl.versions(options)
    query(connection, f"DELETE FROM {where} WHERE folder = {literal(folder)}")
    query(
        connection,
        f"INSERT INTO {where} (folder, delta_version, columns, files, row_count, changed_at) SELECT {literal(folder)},"
        f" {'NULL' if version is None else int(version)}, {literal(columns)}, {len(found.files)},"
        f" {sum(found.files.values())}, CURRENT_TIMESTAMP",
    )
