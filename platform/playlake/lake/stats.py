"""What a Delta log says of a file's columns, by which readers skip files: the smallest, the largest, the nulls.

https://github.com/delta-io/delta/blob/master/PROTOCOL.md#per-file-statistics
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_LONGEST = 64
"""Characters of a text that is named as smallest or largest; of a column with a longer one neither is said."""


class Statistics:
    """Gathered over the rows of one file as they are written."""

    def __init__(self, schema: pa.Schema) -> None:
        self.rows = 0
        self._nulls = dict.fromkeys(schema.names, 0)
        self._ends: dict[str, list[Any]] = {f.name: [] for f in schema if _is_ordered(f.type)}

    def add(self, rows: pa.Table) -> None:
        """Count these rows too."""
        self.rows += rows.num_rows
        for name in self._nulls:
            self._nulls[name] += rows.column(name).null_count
        for name, ends in self._ends.items():
            found = pc.min_max(rows.column(name)).as_py()
            ends += [value for value in (found["min"], found["max"]) if value is not None]

    def json(self) -> str:
        """As the log writes it. Readers compare text by its bytes: the order of code points, as Python's is."""
        told = {name: ends for name, ends in self._ends.items() if ends and all(map(_can_be_said, ends))}
        return json.dumps(
            {
                "numRecords": self.rows,
                "minValues": {name: _said(min(ends)) for name, ends in told.items()},
                "maxValues": {name: _said(max(ends)) for name, ends in told.items()},
                "nullCount": self._nulls,
            }
        )


def _is_ordered(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or (pa.types.is_timestamp(kind) and kind.tz)
    )


def _can_be_said(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST
    return not isinstance(value, float) or math.isfinite(value)


def _said(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value
