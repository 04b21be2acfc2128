"""What the log says of a file's columns: nothing that would let a reader skip a file with what it looks for."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from playlake.lake.stats import Statistics

SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
        ("part", pa.int32()),
        ("share", pa.float64()),
        ("text", pa.string()),
        ("at", pa.timestamp("us", "UTC")),
        ("flag", pa.bool_()),
        ("raw", pa.binary()),
    ]
)
ROW = st.fixed_dictionaries(
    {
        "number": st.none() | st.integers(-(2**63), 2**63 - 1),
        "part": st.none() | st.integers(-(2**31), 2**31 - 1),
        "share": st.none() | st.floats(),
        "text": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=70),
        "at": st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
        "flag": st.none() | st.booleans(),
        "raw": st.none() | st.binary(max_size=5),
    }
)


def said(chunks: list[list[dict[str, Any]]]) -> Any:
    statistics = Statistics(SCHEMA)
    for chunk in chunks:
        statistics.add(pa.Table.from_pylist(chunk, SCHEMA))
    return json.loads(statistics.json())


def value(of: Any) -> Any:
    """As a reader compares it: text by its bytes."""
    return of.encode() if isinstance(of, str) else of


@settings(deadline=None)
@given(st.lists(st.lists(ROW, max_size=8), max_size=4))
def test_every_value_lies_between_what_is_said(chunks: list[list[dict[str, Any]]]) -> None:
    found = said(chunks)
    rows = [row for chunk in chunks for row in chunk]
    assert found["numRecords"] == len(rows)
    assert found["minValues"].keys() == found["maxValues"].keys() <= {"number", "part", "share", "text", "at"}
    for name in SCHEMA.names:
        assert found["nullCount"][name] == sum(row[name] is None for row in rows)
        values = [row[name] for row in rows if row[name] is not None]
        if name not in found["minValues"]:
            assert not values or name in ("flag", "raw", "share", "text")
            continue
        low, high = (found[of][name] for of in ("minValues", "maxValues"))
        if name == "at":
            low, high = (datetime.fromisoformat(text) for text in (low, high))
        ordered = [v for v in values if v == v]  # no order has a place for NaN
        assert all(value(low) <= value(v) <= value(high) for v in ordered)
        assert {value(low), value(high)} <= {value(v) for v in ordered}, "and no wider than they need to be"


def test_a_column_with_a_long_text_has_no_ends() -> None:
    found = said([[{"text": "a", "number": 1}], [{"text": "b" * 65, "number": 2}]])
    assert (found["minValues"], found["maxValues"]) == ({"number": 1}, {"number": 2})
