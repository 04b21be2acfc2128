"""Finding the files of an export: in a folder, in a zip, or named one by one."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from playlake.errors import UsageError
from playlake.sources.exports.account import AccountExport
from playlake.sources.exports.format import DamagedFileError, Format

FORMATS: tuple[Callable[[], Format], ...] = (AccountExport,)
"""Every format that can be imported; the first that knows a file's name reads it."""

_EXTENDED = "Streaming_History_"


@dataclass(frozen=True, slots=True)
class HistoryFile:
    """One file of an export, on disk or inside a zip."""

    label: str
    name: str
    archive: Path | None
    path: Path | zipfile.ZipInfo

    @property
    def identity(self) -> tuple[str, str]:
        """What two names of the same file have in common."""
        if isinstance(self.path, Path):
            return (str(self.path.resolve()), "")
        # Two entries of one name are two files: a zip tells them apart by where they begin.
        return (str(self.archive), f"{self.path.filename}@{self.path.header_offset}")

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The file's bytes, unpacked while reading."""
        if isinstance(self.path, Path) or self.archive is None:
            with Path(str(self.path)).open("rb") as plain:
                yield plain
        else:
            with zipfile.ZipFile(self.archive) as archive:
                try:
                    file: IO[bytes] = archive.open(self.path)
                except (RuntimeError, NotImplementedError) as error:  # zipfile, of encrypted ones
                    raise DamagedFileError(f"can't be unpacked: {error}") from error
                with file:
                    yield file


@dataclass(frozen=True, slots=True)
class Export:
    """The files of one export (one folder, one zip, or the files named), in the order in which they are read."""

    format: Format
    files: tuple[HistoryFile, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What is to be imported, and by label what looks like history and is not read, with the reason."""

    exports: list[Export]
    ignored: dict[str, str]


def find_exports(paths: Iterable[Path]) -> Found:
    """What there is to import below ``paths``.

    :raises UsageError: when a path does not exist, is of another kind, or holds no history.
    """
    groups: dict[tuple[str, int], tuple[Format, list[HistoryFile]]] = {}
    seen: set[tuple[str, str]] = set()
    ignored: dict[str, str] = {}
    for path in paths:
        found = list(_candidates(path))
        known = 0
        for container, file in found:
            for number, make in enumerate(FORMATS):
                group = groups.get((container, number))
                form = group[0] if group else make()
                if form.matches(file.name):
                    known += 1
                    if file.identity not in seen:  # named twice, it is still read once
                        seen.add(file.identity)
                        groups.setdefault((container, number), (form, []))[1].append(file)
                    break
            else:
                if why := _why_not(file):
                    ignored[file.label] = why
        if not known:
            raise UsageError(_nothing_in(path, [f.name for _, f in found]))
    exports = [Export(form, tuple(sorted(files, key=lambda f: form.order(f.name)))) for form, files in groups.values()]
    return Found(exports, ignored)


def _why_not(file: HistoryFile) -> str | None:
    """Why a file that could well be listening is not read."""
    if file.name.startswith(_EXTENDED) and file.name.endswith(".json"):
        return "extended streaming history, which is not imported yet"
    if file.archive is not None and file.name.lower().endswith(".zip"):
        return "a zip inside a zip; unpack the outer one first"
    return None


def _candidates(path: Path) -> Iterator[tuple[str, HistoryFile]]:
    """Files that could be history, each with what it came in."""
    try:
        if path.is_dir():
            for child in sorted(path.rglob("*")):
                if child.is_file() and child.suffix.lower() == ".zip":
                    yield from _in_zip(child)
                elif child.is_file():
                    yield str(child.parent.resolve()), _on_disk(child)
        elif not path.exists():
            raise UsageError(f"{path} does not exist. Give the folder, the files or the zip of a Spotify export.")
        elif zipfile.is_zipfile(path):
            yield from _in_zip(path)
        elif path.suffix.lower() == ".zip":
            raise UsageError(f"{path} is not a whole zip file. Download the export again and give that.")
        else:
            # Files named one by one from one folder are one export.
            yield str(path.parent.resolve()), _on_disk(path)
    except OSError as error:
        raise UsageError(f"{path} can't be read ({error.strerror}). Check its permissions.") from error


def _on_disk(path: Path) -> HistoryFile:
    return HistoryFile(str(path), path.name, None, path)


def _in_zip(path: Path) -> Iterator[tuple[str, HistoryFile]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                inner = PurePosixPath(info.filename)
                if not info.is_dir() and "__MACOSX" not in inner.parts:
                    yield (
                        f"{path.resolve()}!{inner.parent}",
                        HistoryFile(f"{path}!{inner}", inner.name, path.resolve(), info),
                    )
    except zipfile.BadZipFile as error:
        raise UsageError(f"{path} is not a whole zip file ({error}). Download the export again.") from error


def _nothing_in(path: Path, names: list[str]) -> str:
    if any(name.startswith(_EXTENDED) for name in names):
        return (
            f"{path} is Spotify's extended streaming history, which playlake does not import yet."
            " Ask Spotify for the account data (StreamingHistory*.json), which it does."
        )
    if any(name.lower().endswith(".zip") for name in names):
        return f"{path} holds a zip inside a zip. Unpack the outer one, and give the one that Spotify sent."
    if path.is_dir() or path.suffix.lower() == ".zip":
        return (
            f"{path} holds no listening history (no StreamingHistory*.json among its {len(names)} files)."
            " Give the folder or the zip that Spotify sent."
        )
    return f"{path} is no listening history that playlake knows: it imports StreamingHistory*.json, folders and zips."
