"""Rows of a JSON list: one that is broken, in whatever way, costs itself and no other."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as h
from hypothesis import strategies as st

from playlake.sources.exports.format import DamagedFileError
from playlake.sources.exports.rows import BrokenRow, read_rows, why_no_text

Row = dict[str, Any]


def good(number: int) -> Row:
    return {"endTime": f"2024-10-{number % 27 + 1:02} 08:00", "trackName": f"good {number} {{[,", "msPlayed": number}


BROKEN = [
    b'{"endTime": "2024-10-01 08:00", "trackName": Song, "msPlayed": 1}',
    b'{"endTime": "2024-10-01 08:00", "trackName": "say "hi, all" now", "msPlayed": 1}',
    b'{"endTime": "2024-10-01 08:00", "trackName": "no end, "msPlayed": 1}',
    b'{"endTime": "2024-10-01 08:00", "trackName": "bad \\x escape", "msPlayed": 1}',
    b'{"endTime": "2024-10-01 08:00", "trackName": "a" "msPlayed": 1}',
    b'{"endTime": "2024-10-01 08:00", "trackName": "a", "msPlayed": 01}',
    b"{'endTime': '2024-10-01 08:00', 'trackName': 'a', 'msPlayed': 1}",
    b'{"endTime": "2024-10-01 08:00", "extra": [1, "trackName": "a"}',
    b'{"endTime": "2024-10-01 08:00", "extra": {"a": 1, "trackName": "a"}',
    b'{"endTime": "2024-10-01 08:00", "trackName": "a"]}',
    b'{"endTime": "2024-10-01 08:00", "msPlayed": ' + b"9" * 5_000 + b"}",
    b'{"endTime": "2024-10-01 08:00", "extra": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    b"nothing",
    b"}",
]


def read(text: bytes) -> list[Any]:
    return list(read_rows(io.BytesIO(text)))


def listed(rows: list[bytes], form: str) -> bytes:
    match form:
        case "one line":
            return b"[" + b", ".join(rows) + b"]"
        case "a line each":
            return b"[\n" + b",\n".join(rows) + b"\n]\n"
        case _:
            return b"[\r\n  " + b",\r\n  ".join(row.replace(b", ", b",\r\n    ") for row in rows) + b"\r\n]"


@pytest.mark.parametrize("form", ["one line", "a line each", "a line for each field"])
@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_row_costs_no_other(broken: bytes, form: str) -> None:
    before, after = [good(n) for n in range(3)], [good(n) for n in range(3, 2_000)]
    rows = [*(json.dumps(r).encode() for r in before), broken, *(json.dumps(r).encode() for r in after)]
    found = read(listed(rows, form))
    assert [r for r in found if not isinstance(r, BrokenRow)] == before + after
    [one] = [r for r in found if isinstance(r, BrokenRow)]
    assert found.index(one) == len(before)
    assert one.reason == "nested too deep" if b"[[[" in broken else one.reason.startswith("not JSON (")


@pytest.mark.parametrize(
    "value",
    [r"cut \ud83c", r"low half \udf89 first", r"\ud83c\ud83c\udf89", "caf\xe9".encode("latin-1"), b"\xed\xa0\xbc"],
)
def test_what_is_no_character_costs_no_other(value: str | bytes) -> None:
    raw = value if isinstance(value, bytes) else value.encode()
    before, odd, after = read(b'[{"a": 1}, {"a": "' + raw + b'"}, {"a": 2}]')
    assert (before, after) == ({"a": 1}, {"a": 2})
    assert why_no_text(odd["a"])


@pytest.mark.parametrize(
    "value", ["\U0001f389", "nul \x00", "tab\tand\nnewline", "right \u202eto left", "\ufeff", "\uffff"]
)
def test_odd_characters_stay_as_they_are(value: str) -> None:
    assert read(json.dumps([{"a": value}], ensure_ascii=False).encode()) == [{"a": value}]
    assert read(b'[{"a": "' + value.encode() + b'"}]') == [{"a": value}]
    assert why_no_text(value) is None


def test_lists_that_follow_each_other_are_read_on() -> None:
    assert read(b'[{"a": 1}]\n[{"a": 2}, {"a": 3},]') == [{"a": 1}, {"a": 2}, {"a": 3}]
    with pytest.raises(DamagedFileError, match="line 2 goes on after the end"):
        read(b'[{"a": 1}]\n{"a": 2}')


def test_where_a_file_is_cut_off_is_told_by_its_line() -> None:
    text = json.dumps([good(n) for n in range(3)], indent=1).encode()
    found = read_rows(io.BytesIO(text[: text.rindex(b"msPlayed")]))
    assert [next(found), next(found)] == [good(0), good(1)]
    with pytest.raises(DamagedFileError, match="the row that begins in line 12 has no end"):
        next(found)
    with pytest.raises(DamagedFileError, match="is cut off, in line 11"):
        read(text[: text.rindex(b"},") + 1])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@h(deadline=None, max_examples=200)
@given(st.lists(JSON, max_size=8), st.sampled_from([None, 1]), st.booleans())
def test_any_list_is_read_as_json_reads_it(rows: list[Any], indent: int | None, ascii: bool) -> None:
    assert read(json.dumps(rows, indent=indent, ensure_ascii=ascii).encode()) == rows


@h(deadline=None, max_examples=300)
@given(st.lists(JSON, max_size=8), st.data())
def test_any_damage_ends_and_costs_nothing_before_it(rows: list[Any], data: st.DataObject) -> None:
    text = json.dumps(rows).encode()
    at = data.draw(st.integers(1, len(text)))
    damaged = text[:at] + data.draw(st.binary(max_size=6)) + text[at + data.draw(st.integers(0, 4)) :]
    whole = 0
    while len(json.dumps(rows[: whole + 1])) <= at and whole < len(rows):
        whole += 1
    found: list[Any] = []
    try:
        for row in read_rows(io.BytesIO(damaged)):
            found.append(row)
    except DamagedFileError:
        pass
    kept = max(0, whole - 1)
    assert found[:kept] == rows[:kept]
