"""What a build in one call was made of, remembered, so that a build of the same publishes its tables again without dbt.

It is remembered when a build has been published, and forgotten before anything changes the tables of its target.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Self

from playlake.settings import Settings
from playlake.warehouse import definition


def key(settings: Settings, versions: Mapping[str, int], mark: str) -> str:
    """A hash of all that decides what a build makes and tests: the lake's state, the dbt project, its settings, dbt.

    :param mark: what tells this lake from another at the same versions (:func:`playlake.lake.tables.look`).
    """
    tools = [f"{name} {version(name)}" for name in ("dbt-core", "dbt-duckdb", "duckdb")]
    project = definition.fingerprint(settings, tests=True)
    parts = [settings.target, settings.s3_bucket, dict(versions), mark, project, tools]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Published:
    """The build that was published last on a target, whose tables nothing has changed since."""

    key: str
    build: int
    """Its number."""

    def save(self, home: Path, target: str) -> None:
        """Remember it."""
        new = home / f"{_file(target)}.{os.getpid()}"
        new.write_text(json.dumps(asdict(self)))
        new.replace(home / _file(target))

    @classmethod
    def load(cls, home: Path, target: str) -> Self | None:
        """What was remembered of a target, or None."""
        try:
            return cls(**json.loads((home / _file(target)).read_text()))
        except (OSError, ValueError, TypeError):
            return None


def forget(home: Path, target: str) -> None:
    """Note that the tables of a target are about to change."""
    (home / _file(target)).unlink(missing_ok=True)


def _file(target: str) -> str:
    return f"unchanged-{target}.json"
