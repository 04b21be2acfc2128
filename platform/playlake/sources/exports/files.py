"""Finding the files of an export: in a folder, in a zip, or named one by one."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from playlake.errors import UsageError
from playlake.sources.exports.account import AccountExport
from playlake.sources.exports.format import DamagedFileError, Format
from playlake.sources.exports.kinds import ACCOUNT, SAMPLE, kind_of_file
from playlake.sources.exports.rows import packing_of

FORMATS: tuple[Callable[[], Format], ...] = (AccountExport,)
"""Every format that can be imported; the first that knows a file's name reads it."""


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
        not_read: dict[str, str] = {}
        for container, file in found:
            sample: bytes | None = None
            for number, make in enumerate(FORMATS):
                group = groups.get((container, number))
                form = group[0] if group else make()
                if not form.matches(file.name):
                    sample = _sample(file) if sample is None else sample
                    if not file.name.lower().endswith(".json") or kind_of_file(file.name, sample) != form.kind:
                        continue
                known += 1
                if file.identity not in seen:  # named twice, it is still read once
                    seen.add(file.identity)
                    groups.setdefault((container, number), (form, []))[1].append(file)
                break
            else:
                if why := _why_not(file, sample or b""):
                    ignored[file.label] = not_read[file.label] = why
        if not known:
            raise UsageError(_nothing_in(path, len(found), not_read))
    exports = [Export(form, tuple(sorted(files, key=lambda f: form.order(f.name)))) for form, files in groups.values()]
    return Found(exports, ignored)


def _sample(file: HistoryFile) -> bytes:
    """The first bytes of a file; none where it can't be read, which is said when it is known to be history."""
    try:
        with file.open() as stream:
            return stream.read(SAMPLE)
    except (DamagedFileError, OSError, EOFError, zipfile.BadZipFile, zlib.error):
        return b""


def _why_not(file: HistoryFile, sample: bytes) -> str | None:
    """Why a file that could well be listening is not read."""
    kind = kind_of_file(file.name, sample)
    if kind == ACCOUNT:
        return f"{kind} in a file whose name does not end in .json; rename it if it is whole"
    if kind:
        return f"{kind}, which is not imported yet"
    packing = packing_of(sample) or ("zip" if file.name.lower().endswith(".zip") else None)
    if packing == "zip" and file.archive is not None:
        return "a zip inside a zip; unpack the outer one first"
    if packing and packing != "zip":  # documents of many programs are zip files
        return f"packed with {packing}; if history is in it, unpack it first"
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


def _nothing_in(path: Path, files: int, not_read: dict[str, str]) -> str:
    wanted = (
        "playlake imports Spotify's account data, which Spotify sends apart from the extended history: give the"
        " StreamingHistory*.json files, their folder or zip."
    )
    if not_read:
        label, why = next(iter(not_read.items()))
        more = f" (and {len(not_read) - 1} more files)" if len(not_read) > 1 else ""
        return f"Nothing to import: {label} is {why}{more}. {wanted}"
    if path.is_dir() or path.suffix.lower() == ".zip":
        return f"{path} holds no listening history among its {files} files. {wanted}"
    return f"{path} is no listening history that playlake knows. {wanted}"
