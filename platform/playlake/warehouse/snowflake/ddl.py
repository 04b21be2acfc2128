"""The statements that make bronze: one table for each of the lake's, with the columns of its Arrow schema."""

from __future__ import annotations

import pyarrow as pa

from playlake.warehouse.snowflake.options import Snowflake
from playlake.warehouse.snowflake.sql import external_columns, literal, plain_columns

FOLDERS = ("year", "month", "day", "hour")
"""The columns that stand in a file's path, not in the file."""


def name(options: Snowflake, folder: str) -> str:
    """The table that shows a folder of the lake: ``SPOTIFY_DATA.BRONZE.PLAYS`` for ``bronze/plays``."""
    return f"{options.database}.BRONZE.{folder.rpartition('/')[2].upper()}"


def stage(options: Snowflake) -> str:
    """The stage: the bucket."""
    return f"{options.database}.BRONZE.BRONZE_STAGE"


def file_format(options: Snowflake) -> str:
    """How the lake's files are read."""
    return f"{options.database}.BRONZE.LAKE_PARQUET"


def versions(options: Snowflake) -> str:
    """The table that says which Delta version each table of bronze holds."""
    return f"{options.database}.BRONZE.LAKE_VERSIONS"


def versions_table(options: Snowflake) -> str:
    """A row without a version: the table is being changed, or a change was broken off."""
    return (
        f"CREATE TABLE IF NOT EXISTS {versions(options)} (folder VARCHAR NOT NULL, delta_version NUMBER(38, 0),"
        " columns VARCHAR, files NUMBER(38, 0), row_count NUMBER(38, 0), changed_at TIMESTAMP_TZ)"
    )


def table(options: Snowflake, folder: str, schema: pa.Schema, *, replace: bool = False) -> str:
    """A table of bronze, empty until a build shows files in it."""
    how = "CREATE OR REPLACE" if replace else "CREATE"
    exists = "" if replace else "IF NOT EXISTS "
    where = name(options, folder)
    if options.bronze == "loaded":
        return f"{how} TABLE {exists}{where} ({plain_columns(schema)})"
    if options.bronze == "delta":
        return (
            f"{how} ICEBERG TABLE {exists}{where} EXTERNAL_VOLUME = 'PLAYLAKE_LAKE' CATALOG = 'PLAYLAKE_DELTA'"
            f" BASE_LOCATION = {literal(folder)} AUTO_REFRESH = FALSE"
        )
    # Neither refreshed now nor by itself: a refresh would take in files that no version of the table knows any more.
    return (
        f"{how} EXTERNAL TABLE {exists}{where} ({external_columns(schema, FOLDERS)})"
        f" PARTITION BY ({', '.join(FOLDERS)}) LOCATION = @{stage(options)}/{folder}/"
        f" REFRESH_ON_CREATE = FALSE AUTO_REFRESH = FALSE FILE_FORMAT = (FORMAT_NAME = {literal(file_format(options))})"
    )
