"""Why a message is no event: the field, its value, what was expected.

What stands before the first colon is the same for all messages that are wrong in the same way; the value follows it.
"""

from __future__ import annotations

import json
import re
import types
import typing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

MOST = 60
"""Characters of a value that a reason shows."""
_PATH = re.compile(r"at `\$\.(\w+)")


@dataclass(frozen=True, slots=True)
class NotANumber:
    """What stands in a message in place of a number and is none: ``NaN``, ``Infinity``, ``1e999``."""

    text: str


def shown(value: object) -> str:
    """A value as JSON, shortened."""
    try:
        text = value.text if isinstance(value, NotANumber) else json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return "nested too deep to be shown"
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= MOST else f"{text[: MOST - 1]}…"


def reason_of(error: msgspec.ValidationError, fields: Any, kind: type[msgspec.Struct]) -> str:
    """Why ``fields``, which JSON gave, are no ``kind``."""
    if not isinstance(fields, dict):
        return f"not an event, which is a JSON object: {shown(fields)}"
    for field in msgspec.structs.fields(kind):
        if field.required and field.name not in fields:
            return f"{field.name} is missing"
    found = _PATH.search(str(error))
    if found is None:
        return str(error)
    name = found[1]
    return (
        f"{name} is not {_expected(typing.get_type_hints(kind, include_extras=True)[name])}: {shown(fields.get(name))}"
    )


def reason_of_no_json(error: Exception, value: bytes) -> str:
    """Why bytes are not JSON, with what stands where the parser gave up."""
    if isinstance(error, RecursionError):
        return "not JSON that can be read: nested too deep (maximum recursion)"
    if not value:
        return "not JSON: the message is empty"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} at character {error.pos}, {shown(error.doc[error.pos : error.pos + 30])}"
    return f"not JSON: {error}"


def _expected(hint: Any) -> str:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return _expected(next(a for a in typing.get_args(hint) if a is not type(None)))
    if typing.get_origin(hint) is typing.Literal:
        values = typing.get_args(hint)
        return f"one of {', '.join(values)}"
    if typing.get_origin(hint) is typing.Annotated:
        kind, *limits = typing.get_args(hint)
        longest = next((m.max_length for m in limits if getattr(m, "max_length", None)), None)
        return f"text of 1 to {longest:,} characters" if longest else _expected(kind)
    return {
        str: "text",
        int: "a whole number of 64 bits",
        float: "a number",
        bool: "true or false",
        datetime: "a time with its zone, like 2026-01-31T20:15:00Z (RFC 3339)",
    }[hint]
