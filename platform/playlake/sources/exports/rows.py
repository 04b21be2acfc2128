"""The rows of a JSON list, one at a time, however large the file and whatever stands in it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from decimal import Decimal
from typing import IO, Any, Final

import ijson

from playlake.sources.exports.format import DamagedFileError

MAX_DEPTH: Final = 64
"""Levels of nesting that a row may have. Without a limit a file of 200 kB can take all memory."""

_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00": "UTF-32"}


class TooDeep:
    """Stands for a row that is nested deeper than :data:`MAX_DEPTH`; nothing of it is kept."""


def read_rows(file: IO[bytes]) -> Iterator[Any]:
    """The elements of the list that the file holds.

    :raises DamagedFileError: where the file can't be read on.
    """
    stream = io.BufferedReader(file)  # type: ignore[type-var]  # all that is asked of it is readinto()
    try:
        start = stream.peek(3)
        if start.startswith(b"\xef\xbb\xbf"):
            stream.read(3)
            start = start[3:]
        if encoding := _BOMS.get(start[:2]):
            raise DamagedFileError(f"{encoding} text; save the file as UTF-8")
        if start.lstrip()[:1] not in (b"[", b""):
            raise DamagedFileError("not a list of plays")
        yield from _elements(ijson.basic_parse(stream))
    except (ijson.JSONError, UnicodeDecodeError) as error:
        # The parser's first line says what is wrong; the others point into the text.
        raise DamagedFileError(f"not whole JSON: {str(error).splitlines()[0][:120]}") from error
    finally:
        stream.detach()


def _elements(parsed: Iterator[tuple[str, Any]]) -> Iterator[Any]:
    """Build the elements from the parser's events, with a stack of our own so that depth can be limited."""
    stack: list[tuple[Any, Any]] = []  # containers that are open, each with the key at which it stands in its parent
    key: Any = None
    depth = 0
    too_deep = False
    for event, value in parsed:
        if event == "map_key":
            key = value
            continue
        if event in ("start_map", "start_array"):
            depth += 1
            if depth == 1:
                continue
            if depth > MAX_DEPTH:
                too_deep = True
                stack.clear()
            if not too_deep:
                stack.append(({} if event == "start_map" else [], key))
            continue
        if event in ("end_map", "end_array"):
            depth -= 1
            if depth == 0:
                continue
            if too_deep:
                if depth == 1:
                    too_deep = False
                    yield TooDeep()
                continue
            value, key = stack.pop()
        elif too_deep:
            continue
        elif isinstance(value, Decimal):
            value = float(value)  # only now: the parser itself gives up at a number beyond a double's range
        if not stack:
            yield value
        elif isinstance(stack[-1][0], dict):
            stack[-1][0][key] = value
        else:
            stack[-1][0].append(value)
