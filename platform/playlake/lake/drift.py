"""Fields that events have beside their own: which become columns of the lake, and what goes into them.

A field that comes for the first time with a text, a number or a truth value becomes a column of that type; numbers are
fractions of double precision, as in JSON, so that ``1`` may be followed by ``0.73``. A value that does not fit its
column costs nothing: it stays in ``extra`` as JSON text, as lists, objects, nulls and names that are no column's do.
There is nothing to restart, and older files have null there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pyarrow as pa

from playlake import events
from playlake.lake.schema import is_own_name

MOST = 200
"""Columns that may be added to a table: a producer that makes up names must not make a table of thousands."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_KINDS = (pa.string(), pa.bool_(), pa.int64(), pa.float64())
_EXACT = 2**53
"""Up to here every whole number is a fraction of double precision."""
_NO_CHARACTER = re.compile("[\ud800-\udfff]")


class Drift:
    """The columns added to one table: what it has, and what a batch of messages adds.

    :param columns: type by name, in the table's order. Those of types that we never add are another program's: nothing
        is put there, and a field of that name stays in ``extra``.
    """

    def __init__(self, columns: Mapping[str, pa.DataType]) -> None:
        self._columns = {name: kind for name, kind in columns.items() if kind in _KINDS}
        self._folded = {name.lower() for name in columns}
        self.added: dict[str, pa.DataType] = {}
        """What this batch adds."""

    def schema(self) -> list[pa.Field]:
        """All added columns that are ours, those of the table first."""
        return [pa.field(name, kind) for name, kind in self._columns.items()]

    def text_of(self, event: events.Event | events.CurrentlyPlaying) -> bytes:
        """The event as JSON whose fields are columns: its own, those added, and the rest as text in ``extra``."""
        if event.extra is None:
            return msgspec.json.encode(event)
        own: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(event, extra=None))
        given: dict[str, Any] = json.loads(event.extra)
        columns = {name: value for name, value in given.items() if self._is_column(name, value)}
        rest = {name: value for name, value in given.items() if name not in columns}
        if rest:
            own["extra"] = events.extra_text(rest)
        return msgspec.json.encode({**own, **columns})

    def _is_column(self, name: str, value: object) -> bool:
        """Whether the value goes into a column, which is added where it is new."""
        if name not in self._columns:
            kind = _kind_of(value)
            if kind is None or not self._can_be_added(name):
                return False
            self._columns[name] = self.added[name] = kind
            self._folded.add(name.lower())
        return value is None or _fits(self._columns[name], value)

    def _can_be_added(self, name: str) -> bool:
        return (
            len(self._columns) < MOST
            and _NAME.fullmatch(name) is not None
            and name.lower() not in self._folded  # engines do not tell Mood from mood
            and not is_own_name(name)
        )


def _kind_of(value: object) -> pa.DataType | None:
    """The type of a new column for this value; None where it is no column's."""
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, (int, float)):
        if isinstance(value, float) or abs(value) <= _EXACT:
            return pa.float64()
        return pa.int64() if _fits(pa.int64(), value) else None  # an id, more likely than an amount
    return pa.string() if isinstance(value, str) and _fits(pa.string(), value) else None


def _fits(kind: pa.DataType, value: object) -> bool:
    """Whether a column of this type holds exactly this value."""
    if isinstance(value, str):
        return bool(pa.types.is_string(kind)) and not _NO_CHARACTER.search(value)
    if isinstance(value, bool) or pa.types.is_boolean(kind):
        return isinstance(value, bool) and bool(pa.types.is_boolean(kind))
    if not isinstance(value, (int, float)):
        return False
    if pa.types.is_floating(kind):
        return isinstance(value, float) or abs(value) <= _EXACT or (abs(value) < 2**1023 and int(float(value)) == value)
    return bool(pa.types.is_integer(kind)) and isinstance(value, int) and -(2**63) <= value < 2**63
