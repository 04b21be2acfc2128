"""Gold out of Snowflake, as Arrow batches, into the DuckDB file that is published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb

from playlake.warehouse.snowflake.connection import query
from playlake.warehouse.snowflake.options import Snowflake


def counts(connection: Any, options: Snowflake) -> dict[tuple[str, str], int]:
    """Rows by schema and table, of silver and gold."""
    tables = query(
        connection,
        f"SELECT table_schema, table_name FROM {options.database}.INFORMATION_SCHEMA.TABLES"
        " WHERE table_schema IN ('SILVER', 'GOLD') AND table_type IN ('BASE TABLE', 'VIEW') ORDER BY 2",
    )
    parts = [
        f"SELECT '{schema}', '{table}', COUNT(*) FROM {options.database}.{schema}.\"{table}\""
        for schema, table in tables
    ]
    rows = query(connection, " UNION ALL ".join(parts)) if parts else []
    found = {(str(s).lower(), str(t).lower()): int(n) for s, t, n in rows}
    return {key: found[key] for key in sorted(found, key=lambda k: k[1])}


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
