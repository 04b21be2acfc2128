"""DuckDB connections that can read the lake, with no download: the extensions come as wheels."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import duckdb

from playlake.errors import PlaylakeError, was_interrupted
from playlake.settings import Settings

_EXTENSIONS = ("httpfs", "delta")


def extension_path(name: str) -> Path:
    """Where the wheel of a DuckDB extension keeps it.

    :raises PlaylakeError: when the wheel is of another DuckDB version, or not there.
    """
    version = f"v{duckdb.__version__}"
    path = Path(str(files(f"duckdb_extension_{name}"))) / "extensions" / version / f"{name}.duckdb_extension"
    if not path.is_file():
        raise PlaylakeError(
            f"DuckDB {version} has no extension {name} here ({path} is missing): its wheel is of another version."
            " Install the locked requirements again with `make install`."
        )
    return path


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _secret_sql(settings: Settings) -> str:
    parts = [f"region {_quoted(settings.s3_region)}"]
    if settings.s3_access_key and settings.s3_secret_key:
        parts += [
            f"key_id {_quoted(settings.s3_access_key.get_secret_value())}",
            f"secret {_quoted(settings.s3_secret_key.get_secret_value())}",
        ]
    if settings.s3_endpoint:
        scheme, _, host = settings.s3_endpoint.partition("://")
        parts += [
            f"endpoint {_quoted(host.rstrip('/'))}",
            f"use_ssl {str(scheme == 'https').lower()}",
            "url_style 'path'",
        ]
    return f"create or replace temporary secret playlake_s3 (type s3, {', '.join(parts)})"


def configure(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Let a connection read the lake: extensions, the store's keys, UTC and the limit of memory."""
    settings.require_store()
    for name in _EXTENSIONS:
        connection.execute(f"load {_quoted(str(extension_path(name)))}")
    try:
        connection.execute(_secret_sql(settings))
    except duckdb.Error:
        # The statement holds the keys: nothing of it may show, not as a cause either.
        raise PlaylakeError("DuckDB did not take the object store's keys: check the PLAYLAKE_S3_… settings.") from None
    connection.execute("set timezone = 'UTC'")
    connection.execute(f"set memory_limit = '{settings.memory_mb} MiB'")
    connection.execute("set httpfs_connection_caching = true")  # else each file of a table is a connection of its own
    connection.execute("set preserve_insertion_order = false")  # else a large copy is held back to keep its order


def reason(error: BaseException) -> str:
    """What DuckDB says, as one line that says where it is cut: a lost connection comes after a long address."""
    return textwrap.shorten(str(error), 320, placeholder=" …")


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Tell of what DuckDB could not read in the lake in a person's words.

    :raises PlaylakeError: instead of DuckDB's own errors, be it that the store is away or that a file is damaged.
    """
    try:
        yield
    except duckdb.Error as error:
        if was_interrupted(error):
            raise
        raise PlaylakeError(
            f"The lake's {what} can't be read: {reason(error)}\n"
            "Check that the object store runs (`playlake status`; `playlake up` starts the embedded one)."
            " `playlake lake verify` names files that are missing or damaged."
        ) from error


@contextmanager
def closing(connection: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """Close a connection at the end, after a Ctrl-C at once.

    Ctrl-C ends DuckDB's waiting for a query, not the query itself: without ``interrupt`` closing would run it to its
    end, be it hours away.
    """
    try:
        yield connection
    except BaseException:
        connection.interrupt()
        raise
    finally:
        connection.close()


@contextmanager
def connect(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory connection that can read the lake. Never downloads anything."""
    offline: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    with closing(duckdb.connect(config=offline)) as connection:
        configure(connection, settings)
        yield connection
