"""The rows of a JSON list, one at a time, however large the file and whatever stands in it.

Each row is parsed alone: one that is not JSON is given as :class:`BrokenRow`, and those after it are read all the same.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

from playlake.sources.exports.format import DamagedFileError

MAX_ROW: Final = 64 * 1024 * 1024
"""Characters that a row may have; memory holds one row."""

_CHUNK = 64 * 1024
_PACKED = (
    (b"\x1f\x8b", 0, "gzip"),
    (b"BZh", 0, "bzip2"),
    (b"\xfd7zXZ", 0, "xz"),
    (b"7z\xbc\xaf\x27\x1c", 0, "7z"),
    (b"Rar!", 0, "RAR"),
    (b"ustar", 257, "tar"),
    (b"PK\x03\x04", 0, "zip"),
)
_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00": "UTF-32"}
_DECODER = json.JSONDecoder(strict=False)  # a raw tab or newline within a text costs nothing
_BETWEEN = re.compile(r"[\s,]*")
_TOKEN = re.compile(r'"(?:[^"\\\n]|\\[^\n])*+"?|[][{},]')  # a text ends at its line's end at the latest
_OPENING = re.compile(r'\{\s*"(?:[^"\\]|\\.)*"')
_NOT_CHARACTERS = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that is not JSON, as it stands in the file."""

    reason: str
    text: str


def packing_of(sample: bytes) -> str | None:
    """What a file is packed with (``gzip``, ``zip``, …), by its first bytes."""
    return next((name for magic, at, name in _PACKED if sample[at:].startswith(magic)), None)


def why_no_text(value: str) -> str | None:
    """What in a text is no character; None where all are."""
    found = _NOT_CHARACTERS.search(value)
    if found is None:
        return None
    if "\udc80" <= found[0] <= "\udcff":  # a wrong byte, read by surrogateescape, or the second half of some emojis
        return "holds bytes that are not UTF-8 (save the file as UTF-8), or half of a cut emoji"
    return "holds half of a cut emoji"


def read_rows(file: IO[bytes]) -> Iterator[Any]:
    """The elements of the list that the file holds; of all lists, where several follow each other.

    :returns: each as JSON reads it, or a :class:`BrokenRow`.

    :raises DamagedFileError: where the file can't be read on.
    """
    text = _Text(file)
    if (first := text.skip()) != "[":
        what = (
            "one JSON object, or one on each line, and not a list of plays" if first == "{" else "not a list of plays"
        )
        raise DamagedFileError(what if first else "the file is empty")
    text.pos += 1
    while True:
        start = text.skip()
        if not start:
            raise DamagedFileError(f"not whole JSON: the list that ends the file is cut off, in line {text.line}")
        if start != "]":
            yield text.row()
            continue
        text.pos += 1
        after = text.skip()
        if not after:
            return
        if after != "[":
            raise DamagedFileError(f"not whole JSON: line {text.line} goes on after the end of the list")
        text.pos += 1


class _Text:
    """The file's text from ``pos`` on, read as it is needed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")  # a wrong byte costs its own row
        self._text = ""
        self._lines = 1
        self._good = ""
        """How the last good row began."""
        self._ended = False
        self.pos = 0
        start = self._file.read(_CHUNK)
        if encoding := _BOMS.get(start[:2]):
            raise DamagedFileError(f"{encoding} text; save the file as UTF-8")
        if packing := packing_of(start):
            raise DamagedFileError(f"packed with {packing}; unpack it first")
        self._take(start.removeprefix(codecs.BOM_UTF8))

    @property
    def line(self) -> int:
        """The number of the line in which ``pos`` is, from 1."""
        return self._lines + self._text.count("\n", 0, self.pos)

    def skip(self) -> str:
        """Go on to what is neither blank nor a comma, and give its first character; an empty text at the end."""
        while True:
            self.pos = _BETWEEN.match(self._text, self.pos).end()  # type: ignore[union-attr]  # it matches everywhere
            if self.pos < len(self._text) or not self._more():
                return self._text[self.pos : self.pos + 1]

    def row(self) -> Any | BrokenRow:
        """The row that begins at ``pos``, and go on to what follows it."""
        if len(self._text) - self.pos < _CHUNK:
            self._more()  # so that all but the largest rows are there whole
        try:
            value, end = _DECODER.raw_decode(self._text, self.pos)
        except (ValueError, RecursionError):
            return self._row_by_its_end()
        if end == len(self._text):  # a number may go on in what is not read yet
            return self._row_by_its_end()
        self._good = self._text[self.pos : self.pos + 100]
        self.pos = end
        return value

    def _row_by_its_end(self) -> Any | BrokenRow:
        end = self._end_of_row()
        line, text, cut_off = self.line, self._text[self.pos : end].rstrip(", \t\r\n"), end == len(self._text)
        self.pos = end
        try:
            return _DECODER.decode(text)
        except RecursionError:
            return BrokenRow("nested too deep", text)
        except ValueError as error:
            if cut_off:
                raise DamagedFileError(f"not whole JSON: the row that begins in line {line} has no end") from error
            what = error.msg if isinstance(error, json.JSONDecodeError) else "a number of too many digits"
            return BrokenRow(f"not JSON ({what})", text)

    def _end_of_row(self) -> int:
        """Where the row at ``pos`` ends: by its brackets, or where the next one begins if they are wrong."""
        while True:
            following = self._next_opening()
            end = self._closing(len(self._text) if following is None else following)
            if end is not None and (following is None or self._begins_or_ends(end)):
                return end
            if following is not None:
                return following  # a bracket within a text that has no end is none
            if len(self._text) - self.pos > MAX_ROW:
                raise DamagedFileError(f"the row that begins in line {self.line} has over {MAX_ROW:,} characters")
            if not self._more():
                return len(self._text)

    def _begins_or_ends(self, end: int) -> bool:
        """Whether a row begins after ``end``, or the list ends after the bracket before it."""
        after = _BETWEEN.match(self._text, end).end()  # type: ignore[union-attr]  # it matches everywhere
        return self._text[after : after + 1] in (("{", "[", "]") if self._text[end - 1] in "}]" else ("{", "["))

    def _closing(self, limit: int) -> int | None:
        opened: list[str] = []
        for token in _TOKEN.finditer(self._text, self.pos, limit):
            first = token[0][0]
            if first in "{[":
                opened.append(first)
            elif first in "]}":
                partner = "[" if first == "]" else "{"
                while opened and opened.pop() != partner:
                    pass  # its own closing bracket is missing
                if not opened:
                    whole = self._text[self.pos] == partner or token.start() == self.pos
                    return token.end() if whole else token.start()
            elif first == "," and not opened:
                return token.start()
        return None

    def _next_opening(self) -> int | None:
        """Where an object begins with the same field as this one, or as the last good one."""
        opening = _OPENING.match(self._text, self.pos) or _OPENING.match(self._good)
        if opening is None:
            return None
        again = re.compile(r"\{\s*" + re.escape(opening[0].lstrip("{").lstrip()))
        found = again.search(self._text, self.pos + 1)
        return found.start() if found else None

    def _more(self) -> bool:
        """Read on, as much again as there is; False at the end of the file."""
        if self._ended:
            return False
        self._lines += self._text.count("\n", 0, self.pos)
        self._text = self._text[self.pos :]
        self.pos = 0
        self._take(self._file.read(max(_CHUNK, len(self._text))))
        return True

    def _take(self, data: bytes) -> None:
        self._ended = not data
        self._text += self._decoder.decode(data, final=self._ended)
