"""The target ``cloud``: dbt on Snowflake."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import duckdb

from playlake.errors import PlaylakeError
from playlake.settings import Settings
from playlake.warehouse.snowflake import bronze, gold
from playlake.warehouse.snowflake.connection import connect
from playlake.warehouse.snowflake.options import Snowflake, load_snowflake

Say = Callable[[str], None]


class Cloud:
    """Snowflake as the warehouse of a build (:class:`playlake.warehouse.target.Target`)."""

    name = "cloud"

    def __init__(self, settings: Settings, home: Path) -> None:
        self._settings = settings
        self._options: Snowflake = load_snowflake()
        self.folder = home
        self.target_path = home / "target-cloud"

    def pin(
        self, versions: Mapping[str, int], _since: Mapping[str, int], live: bronze.LiveFiles | None, say: Say
    ) -> None:
        """Bring bronze to these versions. Snowflake itself knows which files can't hold what is new."""
        if live is None:
            raise PlaylakeError("A build on Snowflake needs the lake's log: begin it by `playlake build`.")
        say("connecting to Snowflake")
        with connect(self._settings, self._options) as connection:
            bronze.show(connection, self._settings, self._options, versions, live, say)

    def environment(self, *, inside: bool = False) -> dict[str, str]:
        """What ``dbt/profiles.yml`` asks for. The passphrase has the name that dbt keeps out of its logs, and
        all paths are absolute.
        """
        options = self._options
        found = {
            "DBT_SNOWFLAKE_ACCOUNT": options.require_account(),
            "DBT_SNOWFLAKE_USER": options.user,
            "DBT_SNOWFLAKE_PRIVATE_KEY_PATH": str(options.require_key(self._settings).absolute()),
            "DBT_SNOWFLAKE_ROLE": options.role,
            "DBT_SNOWFLAKE_WAREHOUSE": options.warehouse,
            "DBT_SNOWFLAKE_DATABASE": options.database,
            "DBT_SNOWFLAKE_HOST": options.host or "",
            "DBT_SNOWFLAKE_PORT": str(options.port),
            "DBT_SNOWFLAKE_PROTOCOL": options.protocol,
            # The server that can have no external tables takes no BEGIN either.
            "DBT_SNOWFLAKE_TRANSACTIONS": str(options.bronze != "loaded").lower(),
        }
        if passphrase := options.passphrase():
            found["DBT_ENV_SECRET_SNOWFLAKE_PASSPHRASE"] = passphrase
        return found

    def can_be_read(self) -> bool:
        """Whether Snowflake can be read is for it to say."""
        return True

    def counts(self, schema: str, tables: Iterable[str]) -> dict[str, int]:
        """Rows of tables and views of a schema."""
        with connect(self._settings, self._options) as connection:
            return gold.counts(connection, self._options, schema, tables)

    def copy_gold(
        self,
        into: duckdb.DuckDBPyConnection,
        tables: Mapping[str, Mapping[str, str]],
        versions: Mapping[str, int],
    ) -> None:
        """Copy gold into a file, if bronze is still what it was made from.

        :raises PlaylakeError: when another machine has begun a build since.
        """
        with connect(self._settings, self._options) as connection:
            now = {folder: shown.version for folder, shown in bronze.shown(connection, self._options).items()}
            if moved := sorted(folder for folder, version in versions.items() if now.get(folder) != version):
                raise PlaylakeError(
                    f"Another build has changed {', '.join(moved)} on Snowflake since this one began: nothing was"
                    " published. Build from one machine at a time, and run this again."
                )
            gold.copy(connection, self._options, into, tables)
