"""What a format of exported history must offer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Protocol

from playlake import events


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that is no play, and why. Receipts count by ``reason``, so no value stands in it; they keep ``row``."""

    reason: str
    row: Any
    value: str | None = None
    """What the field at fault holds, shortened."""


Outcome = events.Event | Refused


class DamagedFileError(Exception):
    """A file can't be read on from here; the text says why. What came before is good."""


class Format(Protocol):
    """Reads one kind of export. An instance sees all files of one export, in order."""

    name: str
    kind: str
    """The kind of history that it reads (:mod:`playlake.sources.exports.kinds`)."""

    def matches(self, filename: str) -> bool:
        """Whether a file of this name (without folders) belongs to the format."""
        ...

    def order(self, filename: str) -> tuple[int, str]:
        """Key by which the files of an export follow each other."""
        ...

    def read(self, file: IO[bytes], user_id: str) -> Iterator[Outcome]:
        """The outcome of every row, in order, reading as little ahead as the parser needs.

        :raises DamagedFileError: when the file ends in the middle or is no such file.
        """
        ...
