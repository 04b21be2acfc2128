"""dbt-duckdb's way to a connection that can read the lake (``plugins:`` in ``dbt/profiles.yml``).

The keys go from the environment, which `playlake build` sets, into DuckDB without passing through a profile, an SQL
file or dbt's logs.
"""

from __future__ import annotations

from typing import Any

from dbt.adapters.duckdb.plugins import BasePlugin

from playlake.settings import load_settings
from playlake.warehouse import duck


class Plugin(BasePlugin):  # type: ignore[misc]  # dbt-duckdb has no types
    """Found by dbt-duckdb under this name."""

    def configure_connection(self, conn: Any) -> None:
        """Load the extensions and give DuckDB the store's keys."""
        duck.configure(conn, load_settings())
