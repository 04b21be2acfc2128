"""The columns of a table in the Delta log's words and in Arrow's.

https://github.com/delta-io/delta/blob/master/PROTOCOL.md#schema-serialization-format
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import pyarrow as pa

_WORDS: dict[pa.DataType, str] = {
    pa.string(): "string",
    pa.int64(): "long",
    pa.int32(): "integer",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.binary(): "binary",
    pa.timestamp("us", "UTC"): "timestamp",
}
"""All types that a table of the lake is made with."""
_TYPES = {word: kind for kind, word in _WORDS.items()}


def to_log(schema: pa.Schema) -> str:
    """A schema as the log's JSON."""
    fields = [{"name": f.name, "type": _WORDS[f.type], "nullable": f.nullable, "metadata": {}} for f in schema]
    return json.dumps({"type": "struct", "fields": fields}, separators=(",", ":"))


def of_log(text: str) -> Mapping[str, pa.DataType]:
    """By name, the types of a schema that the log has."""
    words = {field["name"]: field["type"] for field in json.loads(text)["fields"]}
    if all(isinstance(word, str) and word in _TYPES for word in words.values()):
        return {name: _TYPES[word] for name, word in words.items()}
    # Another program has added a column of a type that is none of ours.
    from playlake.lake import delta

    return delta.types(text)
