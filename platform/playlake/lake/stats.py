"""What a Delta log says of a file's columns, by which readers skip files: the smallest, the largest, the nulls.

Of every column that has an order and a word for its values in JSON, also of those that other programs have added,
because deltalake's own reader takes a bound that is not given for one that nothing meets.
https://github.com/delta-io/delta/blob/master/PROTOCOL.md#per-file-statistics
"""

from __future__ import annotations

import json
import math
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_ORDERED = (
    *(pa.types.is_string, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_timestamp),
    *(pa.types.is_date, pa.types.is_decimal),
)
_MOST = sys.float_info.max
_LONGEST = 64
"""Characters of a text that are kept as a bound."""


class Statistics:
    """Gathered over the rows of one file as they are written."""

    def __init__(self, schema: pa.Schema) -> None:
        self.rows = 0
        self._nulls = dict.fromkeys(schema.names, 0)
        self._least: dict[str, Any] = {}
        self._greatest: dict[str, Any] = {}
        self._bounded = [f.name for f in schema if any(of(f.type) for of in _ORDERED)]

    def add(self, rows: pa.Table) -> None:
        """Count these rows too."""
        self.rows += rows.num_rows
        for name in self._nulls:
            self._nulls[name] += rows.column(name).null_count
        for name in self._bounded:
            column = rows.column(name)
            if column.null_count == rows.num_rows:
                continue
            if pa.types.is_timestamp(column.type):
                column = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
            found = pc.min_max(column).as_py()
            self._least[name] = min(found["min"], self._least.get(name, found["min"]))
            self._greatest[name] = max(found["max"], self._greatest.get(name, found["max"]))

    def json(self, schema: pa.Schema) -> str:
        """As the log writes it. Readers compare text by its bytes: the order of code points, as Python's is."""
        times = {f.name for f in schema if pa.types.is_timestamp(f.type)}
        return json.dumps(
            {
                "numRecords": self.rows,
                "minValues": {n: _time(v // 1000) if n in times else _lower(v) for n, v in self._least.items()},
                # Times are told to the millisecond: never before the last one.
                "maxValues": {n: _time(-(-v // 1000)) if n in times else _upper(v) for n, v in self._greatest.items()},
                "nullCount": self._nulls,
            }
        )


def of(rows: pa.Table) -> str:
    """The statistics of a file that has these rows."""
    found = Statistics(rows.schema)
    found.add(rows)
    return found.json(rows.schema)


def _lower(value: Any) -> Any:
    if isinstance(value, Decimal):
        return math.nextafter(float(value), -math.inf)
    if isinstance(value, float):  # JSON has no word for what is none, and for what is beyond
        return -_MOST if math.isnan(value) else min(max(value, -_MOST), _MOST)
    return value[:_LONGEST] if isinstance(value, str) else _plain(value)


def _upper(value: Any) -> Any:
    if isinstance(value, Decimal):
        return math.nextafter(float(value), math.inf)
    if isinstance(value, float):
        return _MOST if math.isnan(value) else min(max(value, -_MOST), _MOST)
    return _next_prefix(value) if isinstance(value, str) and len(value) > _LONGEST else _plain(value)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _next_prefix(text: str) -> str:
    """A text of at most as many characters as a bound has that is greater than all that begin like this."""
    for at in range(_LONGEST - 1, -1, -1):
        if (code := ord(text[at])) < sys.maxunicode:
            following = 0xE000 if code == 0xD7FF else code + 1  # there are no characters between
            return text[:at] + chr(following)
    return text


def _time(milliseconds: int) -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
