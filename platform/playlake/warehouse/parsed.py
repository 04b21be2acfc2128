"""dbt's parsed project, kept for the next home: dbt parses for seconds where it finds none beside its artifacts.

A copy lies in the project's own ``target`` folder, where whoever can write can change the models too. It need not be
right: dbt takes no file of it that is not, by its hash, what the project has now. Where it can't be kept, all goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

_NAME = "partial_parse.msgpack"
_KEEP = 8
"""Copies that stay: of both targets, and of the project before the last changes."""
_PARTS = ("models", "macros", "data-tests")


class Copy:
    """The copy that fits a dbt command.

    :param arguments: of the command; what they say by ``--vars`` is part of what is parsed.
    """

    def __init__(self, project: Path, target_path: Path, target: str, arguments: Sequence[str]) -> None:
        self._own = target_path / _NAME
        self._folder = project / "target" / "parsed"
        self._copy = self._folder / f"{_key(project, target, arguments)}.msgpack"

    def bring(self) -> None:
        """Give dbt the copy, where it has parsed nothing here yet."""
        if not self._own.exists():
            with contextlib.suppress(OSError):
                self._own.parent.mkdir(parents=True, exist_ok=True)
                _replace(self._copy, self._own)

    def keep(self) -> None:
        """Keep what dbt has parsed here, where there is no copy."""
        if self._copy.exists():
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            _replace(self._own, self._copy)
            copies = sorted(self._folder.glob("*.msgpack"), key=lambda path: path.stat().st_mtime)
            for old in copies[:-_KEEP]:
                old.unlink(missing_ok=True)


@contextmanager
def by_hand(target_path: Path) -> Iterator[None]:
    """Keep apart what a dbt by hand parses: its database has another name, so each would parse all after the other."""
    own = target_path / _NAME
    of_builds, of_hands = (own.with_name(f"{kind}_{_NAME}") for kind in ("build", "by_hand"))
    _move(own, of_builds)
    _move(of_hands, own)
    try:
        yield
    finally:
        _move(own, of_hands)
        _move(of_builds, own)


def _move(source: Path, destination: Path) -> None:
    with contextlib.suppress(OSError):
        source.replace(destination)


def _replace(source: Path, destination: Path) -> None:
    """Copy a file so that nobody ever finds half of it."""
    new = destination.with_name(f".{destination.name}.{os.getpid()}")
    try:
        shutil.copyfile(source, new)
        new.replace(destination)
    finally:
        new.unlink(missing_ok=True)


def _key(project: Path, target: str, arguments: Sequence[str]) -> str:
    given = [text for place, text in enumerate(arguments) if "--vars" in (text, *arguments[place - 1 : place])]
    given += [text for text in arguments if text.startswith("--vars=")]
    tools = [version(name) for name in ("dbt-core", "dbt-duckdb", "dbt-snowflake")]
    # dbt notes where its own macros and the project's files are.
    digest = hashlib.sha256(json.dumps([str(project), sys.prefix, sys.version, target, given, tools]).encode())
    files = [project / "dbt_project.yml", project / "profiles.yml"]
    files += (path for part in _PARTS for path in (project / part).rglob("*") if path.is_file())
    for path in sorted(files):
        digest.update(f"\0{path.relative_to(project)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]
