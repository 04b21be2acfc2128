"""Fields that events have beside their own: which become columns of the lake, and what then may be in them.

A field that comes for the first time with a text, a number or a truth value becomes a column of that type. From then
on it has that type: a message that has another there is no event any more. Lists, objects, nulls and names that are
no column's stay in ``extra`` as JSON text. There is nothing to restart, and older files have null there.
"""

from __future__ import annotations

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
_TYPES: dict[type, tuple[pa.DataType, str]] = {
    str: (pa.string(), "str"),
    bool: (pa.bool_(), "bool"),
    int: (pa.int64(), "int"),
    float: (pa.float64(), "float"),
}
_WORDS = dict(_TYPES.values())
_ENCODER = msgspec.json.Encoder()


class Drift:
    """The columns added to one table: what it has, and what a batch of messages adds.

    :param columns: type by name, in the table's order. Those of types that we never add are another program's: nothing
        is put there, and a field of that name stays in ``extra``.
    """

    def __init__(self, columns: Mapping[str, pa.DataType]) -> None:
        self._columns = {name: kind for name, kind in columns.items() if kind in _WORDS}
        self._folded = {name.lower() for name in columns}
        self.added: dict[str, pa.DataType] = {}
        """What this batch adds."""

    def schema(self) -> list[pa.Field]:
        """All added columns that are ours, those of the table first."""
        return [pa.field(name, kind) for name, kind in self._columns.items()]

    def text_of(self, event: events.Event | events.CurrentlyPlaying) -> bytes:
        """The event as JSON whose fields are columns: its own, those added, and the rest as text in ``extra``.

        :raises InvalidEventError: where a field has another type than its column.
        """
        if event.extra is None:
            return _ENCODER.encode(event)
        own: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(event, extra=None))
        given = msgspec.json.decode(event.extra)
        for name in self._columns.keys() & given.keys():  # all are looked at before one is added
            if given[name] is not None and not self._fits(name, given[name]):
                raise events.InvalidEventError(_misfit(name, self._columns[name], given[name]))
        rest = {name: value for name, value in given.items() if not self._is_column(name, value)}
        columns = {name: value for name, value in given.items() if name not in rest}
        if rest:
            own["extra"] = _ENCODER.encode(rest).decode()
        return _ENCODER.encode({**own, **columns})

    def _is_column(self, name: str, value: object) -> bool:
        if name in self._columns:
            return True
        kind = _TYPES.get(type(value))
        if kind is None or not self._can_be_added(name) or not self._holds(kind[0], value):
            return False
        self._columns[name] = self.added[name] = kind[0]
        self._folded.add(name.lower())
        return True

    def _can_be_added(self, name: str) -> bool:
        return (
            len(self._columns) < MOST
            and _NAME.fullmatch(name) is not None
            and name.lower() not in self._folded  # engines do not tell Mood from mood
            and not is_own_name(name)
        )

    def _fits(self, name: str, value: object) -> bool:
        kind = self._columns[name]
        if type(value) is int and pa.types.is_floating(kind):
            return _is_exact(value)
        same = type(value) in _TYPES and _TYPES[type(value)][0] == kind
        return same and self._holds(kind, value)

    @staticmethod
    def _holds(kind: pa.DataType, value: object) -> bool:
        return not pa.types.is_integer(kind) or (isinstance(value, int) and -(2**63) <= value < 2**63)


def _is_exact(value: int) -> bool:
    """Whether a fraction of double precision is this whole number."""
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def _misfit(name: str, kind: pa.DataType, value: object) -> str:
    if type(value) is int and not pa.types.is_string(kind) and not pa.types.is_boolean(kind):
        return f"A number that does not fit a column of `{_WORDS[kind]}` - at `$.{name}`"
    return f"Expected `{_WORDS[kind]} | null`, got `{_word(value)}` - at `$.{name}`"


def _word(value: object) -> str:
    if type(value) in _TYPES:
        return _TYPES[type(value)][1]
    return "array" if isinstance(value, list) else "object"
