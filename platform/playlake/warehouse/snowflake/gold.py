"""Gold out of Snowflake, as Arrow batches, into the DuckDB file that is published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import duckdb

from playlake.warehouse.snowflake.connection import query
from playlake.warehouse.snowflake.options import Snowflake


def counts(connection: Any, options: Snowflake, schema: str, tables: Iterable[str]) -> dict[str, int]:
    """Rows of tables and views of a schema."""
    parts = [f"SELECT '{table}', COUNT(*) FROM {options.database}.{schema}.{table}" for table in tables]
    rows = query(connection, " UNION ALL ".join(parts)) if parts else []
    return {str(table): int(count) for table, count in sorted(rows)}


def copy(
    connection: Any, options: Snowflake, into: duckdb.DuckDBPyConnection, tables: Mapping[str, Mapping[str, str]]
) -> None:
    """Copy tables of gold into the schema ``gold`` of a DuckDB file, a batch at a time.

    :param tables: by table, its columns with the types of their contract: both targets publish the same types.
    """
    for table, columns in tables.items():
        made = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
        into.execute(f'create table gold."{table}" ({made})')
        names = ", ".join(columns)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {names} FROM {options.database}.GOLD.{table}")
            for batch in cursor.fetch_arrow_batches(force_microsecond_precision=True):
                cast = ", ".join(f'cast("{n}" as {kind})' for n, kind in columns.items())
                into.register("batch", batch.rename_columns(list(columns)))
                into.execute(f'insert into gold."{table}" select {cast} from batch')
                into.unregister("batch")
