"""What a build is made by: models, their settings, the lake. Where any of it is another, everything is made anew.

Incremental models take up what is new; they can't see that a rule has changed, or that the lake is another one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from playlake.settings import Settings
from playlake.warehouse import dbt

_KINDS = (".sql", ".yml", ".yaml", ".csv")


def variables(settings: Settings) -> dict[str, str]:
    """The settings that models depend on, as the environment variables that their macro ``setting`` reads."""
    return {
        "DBT_PLAYLAKE_TIME_ZONE": settings.time_zone,
        "DBT_PLAYLAKE_COUNTS_AS_PLAY": settings.counts_as_play,
        "DBT_PLAYLAKE_MERGE_SOURCES": str(settings.merge_sources).lower(),
    }


def fingerprint(settings: Settings, project: Path | None = None, *, tests: bool = False) -> str:
    """A hash of the dbt project's models, macros and vars, and of the settings they depend on.

    :param tests: of its data tests too, which change no table.
    """
    project = project or dbt.PROJECT
    parts = ("models", "macros", *(["data-tests"] if tests else []))
    digest = hashlib.sha256(json.dumps(variables(settings), sort_keys=True).encode())
    files = [project / "dbt_project.yml"]
    files += (p for part in parts for p in (project / part).rglob("*") if p.suffix in _KINDS)
    for path in sorted(files):
        digest.update(f"\0{path.relative_to(project)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Definition:
    """What the warehouse's own tables were made by, and whether they were made whole.

    ``lake`` has, by the lake's folder, the Delta version that silver has taken up.
    """

    fingerprint: str
    lake: dict[str, int]
    whole: bool

    def needs_all(self, fingerprint: str, versions: Mapping[str, int]) -> bool:
        """Whether a build by ``fingerprint`` of the lake at ``versions`` must make everything anew.

        A table that is at an earlier version than before is another one: the lake was deleted, or restored.
        """
        went_back = any(versions.get(path, -1) < version for path, version in self.lake.items())
        return not self.whole or self.fingerprint != fingerprint or went_back

    def save(self, home: Path, target: str = "local") -> None:
        """Remember it of a target."""
        new = home / f"{_file(target)}.{os.getpid()}"
        new.write_text(json.dumps({"fingerprint": self.fingerprint, "lake": self.lake, "whole": self.whole}))
        new.replace(home / _file(target))


def load(home: Path, target: str = "local") -> Definition | None:
    """What was remembered of a target, or None."""
    try:
        return Definition(**json.loads((home / _file(target)).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _file(target: str) -> str:
    return f"definition-{target}.json"
