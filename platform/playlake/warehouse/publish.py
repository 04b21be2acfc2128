"""Publishing a build: gold is copied into a new file, which becomes current by one atomic rename.

A reader opens the file that ``CURRENT`` names, read-only, and keeps it until the name changes: it never waits, never
fails and never sees half a build. Files are never written again once they have been named.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from playlake.errors import PlaylakeError, UsageError, was_interrupted
from playlake.warehouse import duck

KEEP = 3
"""Published versions that stay on disk, so that a reader still on an older one is not disturbed, and to go back to."""


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
    build: int = 0
    """The number of the build (:class:`~playlake.warehouse.stages.Begun`); 0 where it is not known."""
    taken_back: dict[str, int] = field(default_factory=dict)
    """The Delta versions of a later build that was taken back (:func:`rollback`)."""
    withdrawn: tuple[int, ...] = ()
    """The versions that were taken back, of those on disk: none of them is served again."""

    @property
    def seen(self) -> dict[str, int]:
        """The Delta versions that are no news: they were built from, whatever became of it."""
        return self.taken_back or self.lake_versions


def current(home: Path) -> Current | None:
    """What ``CURRENT`` names, or None before the first build."""
    try:
        data = json.loads((home / "published" / "CURRENT").read_text())
        versions, taken_back = (_versions(data.get(name, {})) for name in ("lake_versions", "taken_back"))
        return Current(
            int(data["version"]),
            home / "published" / str(data["file"]),
            str(data["built_at"]),
            versions,
            str(data.get("target", "local")),
            int(data.get("build", 0)),
            taken_back,
            tuple(int(number) for number in data.get("withdrawn", ())),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


Fill = Callable[[duckdb.DuckDBPyConnection], None]


def publish(home: Path, fill: Fill, versions: Mapping[str, int], *, build: int = 0, target: str = "local") -> int:
    """Copy gold into a new file and make it current. Returns the new version's number.

    :param fill: what fills the schema ``gold`` of the new file.
    :param build: the build's own number, which the next one starts from.
    :raises PlaylakeError: when gold can't be copied; what was published before stays.
    """
    folder = home / "published"
    folder.mkdir(parents=True, exist_ok=True)
    before = current(home)
    # Never a number that was used, whatever CURRENT says: caches may still know it.
    number = 1 + max([before.version if before else 0, *(n for n, path in _files(folder) if path.suffix == ".duckdb")])
    new = folder / f"{_name(number)}.new"
    new.unlink(missing_ok=True)
    built_at = datetime.now(UTC).isoformat(timespec="seconds")
    final = folder / _name(number)
    withdrawn = before.withdrawn if before else ()
    kept = _kept(folder, number, withdrawn)
    made = Current(
        number, final, built_at, dict(versions), target, build, withdrawn=tuple(n for n in withdrawn if n in kept)
    )
    try:
        _write(new, fill, made)
    except BaseException as error:
        new.unlink(missing_ok=True)  # half of it would go on filling a full disk
        if not isinstance(error, duckdb.Error) or was_interrupted(error):
            raise
        raise PlaylakeError(
            f"Gold can't be copied to {new} ({duck.reason(error)}), so what was published before is still served."
            " Where the disk is full, free some space; then build again."
        ) from error
    _sync(new)
    new.replace(final)
    _point(folder, made)
    _prune(folder, kept)
    return number


def rollback(home: Path) -> Current:
    """Make the version before the current one current again, of those that were not taken back themselves.

    Its successor stays on disk until it is pruned.

    :raises UsageError: where there is no version before it.
    """
    now = current(home)
    if now is None:
        raise UsageError("Nothing has been published, so there is nothing to go back from.")
    folder = home / "published"
    withdrawn = {*now.withdrawn, now.version}
    before = sorted(
        (n, path) for n, path in _files(folder) if n < now.version and n not in withdrawn and path.suffix == ".duckdb"
    )
    if not before:
        raise UsageError(
            f"Build {now.version} is the oldest that is kept ({KEEP} are) and was not taken back, so there is none to"
            " go back to."
        )
    number, path = before[-1]
    try:
        with duck.closing(duckdb.connect(str(path), read_only=True)) as connection:
            connection.execute("set timezone = 'UTC'")
            result = connection.execute("from build_info")
            names = [c[0] for c in result.description]  # a file of an earlier release has fewer columns
            [info] = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    except (duckdb.Error, ValueError) as error:
        raise PlaylakeError(
            f"{path} can't be read ({duck.reason(error)}), so build {now.version} stays current."
        ) from error
    built_at, versions = info["built_at"].isoformat(timespec="seconds"), _versions(json.loads(info["lake_versions"]))
    target, build = str(info.get("target", "local")), int(info.get("build", 0))
    restored = Current(number, path, built_at, versions, target, build, now.seen, tuple(sorted(withdrawn)))
    _point(folder, restored)
    return restored


def _point(folder: Path, to: Current) -> None:
    """Make a file current, by one rename."""
    pointer = folder / f"CURRENT.{os.getpid()}"
    named = {
        "version": to.version,
        "file": to.path.name,
        "built_at": to.built_at,
        "lake_versions": to.lake_versions,
        "target": to.target,
        "build": to.build,
        "taken_back": to.taken_back,
        "withdrawn": to.withdrawn,
    }
    pointer.write_text(json.dumps(named))
    _sync(pointer)
    pointer.replace(folder / "CURRENT")
    _sync(folder)


def _versions(data: Mapping[str, object]) -> dict[str, int]:
    return {str(path): int(str(version)) for path, version in data.items()}


def _name(number: int) -> str:
    return f"gold-{number:08d}.duckdb"


def _write(new: Path, fill: Fill, made: Current) -> None:
    with duck.closing(duckdb.connect(str(new))) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute("create schema gold")
        fill(connection)
        connection.execute(
            "create table build_info"
            " (version bigint, built_at timestamptz, lake_versions varchar, target varchar, build bigint)"
        )
        versions = json.dumps(made.lake_versions, sort_keys=True)
        connection.execute(
            "insert into build_info values (?, ?, ?, ?, ?)",
            [made.version, made.built_at, versions, made.target, made.build],
        )
        connection.execute("checkpoint")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _kept(folder: Path, number: int, withdrawn: Sequence[int]) -> set[int]:
    """The versions that stay once ``number`` is published: the last ones, for readers that may have them open, and the
    last that were not taken back, which :func:`rollback` can serve.
    """
    served = sorted({number, *(n for n, path in _files(folder) if path.suffix == ".duckdb")} - set(withdrawn))
    return {*range(number - KEEP + 1, number + 1), *served[-KEEP:]}


def _prune(folder: Path, kept: set[int]) -> None:
    for found, path in _files(folder):
        if found not in kept or path.name.endswith((".new", ".new.wal")):
            path.unlink(missing_ok=True)


def _files(folder: Path) -> list[tuple[int, Path]]:
    """The files of builds, by number, whole or not."""
    numbered = [(p.name.removeprefix("gold-").partition(".")[0], p) for p in folder.glob("gold-*")]
    return [(int(digits), path) for digits, path in numbered if digits.isdigit()]
