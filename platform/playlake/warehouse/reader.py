"""Reading published gold: always one whole build, never waiting for the next."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import duckdb

from playlake.errors import UnavailableError
from playlake.warehouse.publish import Current, current
from playlake.warehouse.queries import LATER, QUERIES


class GoldReader:
    """Runs named queries on the current build, and moves to a newer one by itself. Safe to share between threads.

    :param home: the warehouse's folder (``<home>/warehouse``).
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._open: Current | None = None
        self._connection: duckdb.DuckDBPyConnection | None = None

    def version(self) -> int | None:
        """Number of the current build, or None before the first."""
        found = current(self._home)
        return found.version if found else None

    def query(self, name: str, **parameters: object) -> list[dict[str, Any]]:
        """The rows of a named query, as dictionaries.

        :raises UnavailableError: before the first build.
        """
        with self._current_cursor() as cursor:
            try:
                result = cursor.execute(QUERIES[name], parameters or None)
            except duckdb.CatalogException:
                if name in LATER:
                    return []
                raise
            columns = [c[0] for c in result.description]
            return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = self._open = None

    def _current_cursor(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            for _ in range(5):
                found = current(self._home)
                if found is None:
                    raise UnavailableError("Nothing has been published yet: run `playlake build` (or `make demo`).")
                if found == self._open and self._connection is not None:
                    return self._connection.cursor()
                try:
                    opened = duckdb.connect(str(found.path), read_only=True)
                except duckdb.IOException:
                    continue  # pruned between reading its name and opening it: a newer one is current by now
                opened.execute("set timezone = 'UTC'")
                # The old connection is not closed here: cursors of other threads may still read from it.
                self._open, self._connection = found, opened
                return opened.cursor()
        raise UnavailableError(
            f"The published build in {self._home} can't be opened. Run `playlake build` to publish a new one."
        )
