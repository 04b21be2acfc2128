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
        "share": st.none() | st.floats(allow_nan=False, allow_infinity=False),
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
    return json.loads(statistics.json(SCHEMA))


def value(of: Any) -> Any:
    """As a reader compares it: text by its bytes."""
    return of.encode() if isinstance(of, str) else of


@settings(deadline=None)
@given(st.lists(st.lists(ROW, max_size=8), max_size=4))
def test_every_value_lies_between_what_is_said(chunks: list[list[dict[str, Any]]]) -> None:
    found = said(chunks)
    rows = [row for chunk in chunks for row in chunk]
    assert found["numRecords"] == len(rows)
    for name in SCHEMA.names:
        assert found["nullCount"][name] == sum(row[name] is None for row in rows)
        values = [row[name] for row in rows if row[name] is not None]
        known = name in found["minValues"]
        assert known == (name in found["maxValues"]) == bool(values and name != "raw"), "a bound that lacks hides rows"
        if known:
            low, high = (found[of][name] for of in ("minValues", "maxValues"))
            if name == "at":
                low, high = (datetime.fromisoformat(text) for text in (low, high))
            assert all(value(low) <= value(v) <= value(high) for v in values)


def test_a_long_text_is_bounded_by_its_beginning() -> None:
    found = said([[{"text": "a" * 100}], [{"text": "b" * 100}]])
    assert (found["minValues"]["text"], found["maxValues"]["text"]) == ("a" * 64, "b" * 63 + "c")
