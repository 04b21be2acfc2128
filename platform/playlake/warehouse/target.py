"""Where dbt builds: DuckDB on this machine (``local``), or Snowflake (``cloud``). Both do the same five things."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import duckdb

from playlake.settings import Settings

if TYPE_CHECKING:
    from playlake.warehouse.snowflake.bronze import LiveFiles

Say = Callable[[str], None]


class Target(Protocol):
    """A warehouse that dbt builds in."""

    @property
    def name(self) -> str:
        """Its name in ``dbt/profiles.yml``."""
        ...

    @property
    def folder(self) -> Path:
        """The warehouse's folder."""
        ...

    @property
    def target_path(self) -> Path:
        """Where dbt's artifacts of this target go."""
        ...

    def pin(self, versions: Mapping[str, int], since: Mapping[str, int], live: LiveFiles | None, say: Say) -> None:
        """Show each table of the lake to dbt at one version, so that a whole build sees one state.

        :param since: the versions that silver has taken up for certain, if any. A target may show what came in files
            after them as ``new_…``, so that a build need not read all of bronze to find what is new.
        """
        ...

    def environment(self, *, inside: bool = False) -> dict[str, str]:
        """What ``dbt/profiles.yml`` asks for, secrets included: never for a log.

        :param inside: for a dbt that runs in :attr:`folder`. Its files have the same names in every home then, and dbt,
            which parses all for another name, can use what it has parsed in another home.
        """
        ...

    def can_be_read(self) -> bool:
        """Whether there is something to be read, and what it takes to read it is there."""
        ...

    def counts(self, schema: str, tables: Iterable[str]) -> dict[str, int]:
        """Rows of tables and views of a schema."""
        ...

    def copy_gold(
        self,
        into: duckdb.DuckDBPyConnection,
        tables: Mapping[str, Mapping[str, str]],
        versions: Mapping[str, int],
    ) -> None:
        """Copy gold into the schema ``gold`` of a file.

        :param tables: the models of gold: their columns with the types of their contract.
        :param versions: of the lake's tables, that gold was made from.
        """
        ...


def of(settings: Settings, home: Path, name: str) -> Target:
    """The target of that name; ``home`` is the warehouse's folder."""
    if name == "cloud":
        from playlake.warehouse.snowflake.target import Cloud  # a second of imports that a local build does not need

        return Cloud(settings, home)
    from playlake.warehouse.local import Local

    return Local(settings, home)
