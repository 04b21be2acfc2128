"""Writing SQL for Snowflake: literals, and columns from Arrow schemas."""

from __future__ import annotations

import hashlib

import pyarrow as pa


def literal(text: str) -> str:
    """A string constant. A backslash escapes in Snowflake's too.

    https://docs.snowflake.com/en/sql-reference/data-types-text#string-constants
    """
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def column_type(kind: pa.DataType) -> str:
    """Snowflake's type for what an Arrow type holds."""
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP_TZ" if kind.tz else "TIMESTAMP_NTZ"
    for test, name in (
        (pa.types.is_string, "VARCHAR"),
        (pa.types.is_integer, "NUMBER(38, 0)"),
        (pa.types.is_floating, "FLOAT"),
        (pa.types.is_boolean, "BOOLEAN"),
        (pa.types.is_binary, "BINARY"),
        (pa.types.is_date, "DATE"),
    ):
        if test(kind):
            return name
    # A new kind in an event's schema: whoever adds it says here what it is on Snowflake; a test looks at every schema.
    raise TypeError(f"no column of Snowflake's for {kind}")


def plain_columns(schema: pa.Schema) -> str:
    """The columns of an ordinary table."""
    return ", ".join(f"{f.name} {column_type(f.type)}" for f in schema)


def external_columns(schema: pa.Schema, folders: tuple[str, ...]) -> str:
    """The columns of an external table on Parquet files; ``folders`` are the columns that only the path holds.

    A path is ``…/year=2025/month=11/day=18/hour=14/….parquet``; a file's own columns are those of ``value``, whose
    names are case-sensitive. https://docs.snowflake.com/en/sql-reference/sql/create-external-table
    """
    made = []
    for field in schema:
        if field.name in folders:
            source = f"SPLIT_PART(SPLIT_PART(METADATA$FILENAME, '{field.name}=', 2), '/', 1)"
        else:
            source = f'VALUE:"{field.name}"::{column_type(field.type)}'
        made.append(f"{field.name} {column_type(field.type)} AS ({source})")
    return ", ".join(made)


def fingerprint(schema: pa.Schema) -> str:
    """A mark of the columns and their types, to tell whether a table was made from this schema."""
    return hashlib.sha256(plain_columns(schema).encode()).hexdigest()[:12]
