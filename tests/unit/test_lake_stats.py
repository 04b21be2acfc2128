"""What the log says of a file's columns: nothing that would let a reader skip a file with what it looks for."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
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


def test_columns_of_other_programs_have_bounds_that_json_can_say() -> None:
    """Compaction writes their rows anew, too."""
    schema = pa.schema(
        [
            ("price", pa.decimal128(20, 2)),
            ("on", pa.date32()),
            ("share", pa.float64()),
            ("rating", pa.int16()),
            ("tags", pa.list_(pa.string())),
            ("none", pa.float32()),
        ]
    )
    rows: list[dict[str, Any]] = [
        {"price": Decimal("123456789012345678.25"), "on": date(2026, 1, 2), "share": float("inf"), "rating": 3},
        {"price": Decimal("-3.50"), "on": date(2025, 1, 2), "share": 1.5, "rating": -4, "tags": ["a"]},
        {"share": float("nan"), "none": float("nan")},
    ]
    statistics = Statistics(schema)
    statistics.add(pa.Table.from_pylist(rows, schema))

    def never(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads(statistics.json(schema), parse_constant=never)
    low, high = found["minValues"], found["maxValues"]
    assert low["price"] < rows[1]["price"] < rows[0]["price"] < high["price"]
    assert (low["on"], high["on"]) == ("2025-01-02", "2026-01-02")
    assert (low["rating"], high["rating"]) == (-4, 3)
    assert low["share"] <= 1.5 < 1e308 < high["share"]
    assert low["none"] < high["none"]
    assert "tags" not in low.keys() | high.keys()
    assert found["nullCount"]["tags"] == 2
