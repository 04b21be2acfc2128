"""Publishing a build: gold is copied into a new file, which becomes current by one atomic rename.

A reader opens the file that ``CURRENT`` names, read-only, and keeps it until the name changes: it never waits, never
fails and never sees half a build. Files are never written again once they have been named.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from playlake.warehouse import duck, local

KEEP = 3
"""Published versions that stay on disk, so that a reader still on an older one is not disturbed."""


@dataclass(frozen=True, slots=True)
class Current:
    """The published build that is current."""

    version: int
    path: Path
    built_at: str
    lake_versions: dict[str, int] = field(default_factory=dict)
    """By the lake's folder, the Delta version that it was built from."""
    target: str = "local"
    """Where dbt built it."""


def current(home: Path) -> Current | None:
    """What ``CURRENT`` names, or None before the first build."""
    try:
        data = json.loads((home / "published" / "CURRENT").read_text())
        versions = {str(path): int(version) for path, version in data.get("lake_versions", {}).items()}
        path = home / "published" / str(data["file"])
        return Current(int(data["version"]), path, str(data["built_at"]), versions, str(data.get("target", "local")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


Fill = Callable[[duckdb.DuckDBPyConnection], None]


def publish(home: Path, gold: Path | Fill, versions: Mapping[str, int], *, target: str = "local") -> int:
    """Copy gold into a new file and make it current. Returns the new version's number.

    :param gold: a DuckDB file that has it, or what fills the schema ``gold`` of the new one.
    """
    folder = home / "published"
    folder.mkdir(parents=True, exist_ok=True)
    before = current(home)
    # Never a number that was used, whatever CURRENT says: caches may still know it.
    number = 1 + max([before.version if before else 0, *(n for n, path in _files(folder) if path.suffix == ".duckdb")])
    new = folder / f"{_name(number)}.new"
    new.unlink(missing_ok=True)
    built_at = datetime.now(UTC).isoformat(timespec="seconds")
    fill = (lambda into: local.copy_gold(gold, into)) if isinstance(gold, Path) else gold
    _write(new, fill, number, built_at, versions)
    _sync(new)
    final = folder / _name(number)
    new.replace(final)
    pointer = folder / f"CURRENT.{os.getpid()}"
    named = {"version": number, "file": final.name, "built_at": built_at, "lake_versions": dict(versions)}
    named["target"] = target
    pointer.write_text(json.dumps(named))
    _sync(pointer)
    pointer.replace(folder / "CURRENT")
    _sync(folder)
    _prune(folder, number)
    return number


def _name(number: int) -> str:
    return f"gold-{number:08d}.duckdb"


def _write(new: Path, fill: Fill, number: int, built_at: str, versions: Mapping[str, int]) -> None:
    with duck.closing(duckdb.connect(str(new))) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute("create schema gold")
        fill(connection)
        connection.execute("create table build_info (version bigint, built_at timestamptz, lake_versions varchar)")
        connection.execute(
            "insert into build_info values (?, ?, ?)", [number, built_at, json.dumps(dict(versions), sort_keys=True)]
        )
        connection.execute("checkpoint")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prune(folder: Path, number: int) -> None:
    for found, path in _files(folder):
        if found <= number - KEEP or path.name.endswith((".new", ".new.wal")):
            path.unlink(missing_ok=True)


def _files(folder: Path) -> list[tuple[int, Path]]:
    """The files of builds, by number, whole or not."""
    numbered = [(p.name.removeprefix("gold-").partition(".")[0], p) for p in folder.glob("gold-*")]
    return [(int(digits), path) for digits, path in numbered if digits.isdigit()]
