"""Which offsets are said to be expired, by where the log begins and what the lake has."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playlake.lake.verify.expired import Range, beyond, merged, without


@pytest.mark.parametrize(
    ("log_start", "position", "first_held", "gone"),
    [
        (0, 0, None, []),  # nothing has happened yet
        (0, 50, 0, []),
        (0, 50, 3, []),  # the first offsets were never given to messages, or compacted away
        (40, 50, 0, []),  # retention took what was landed
        (50, 50, 0, []),
        (70, 50, 0, [(50, 70)]),  # and what was not
        (70, 0, None, [(0, 70)]),  # before the first landing
        (70, 90, 70, [(0, 70)]),  # which then began where the log did
        (80, 90, 70, [(0, 70)]),
        (70, 90, 75, [(0, 70)]),  # what the log still has is lost, not expired
        (99, 90, 70, [(0, 70), (90, 99)]),
    ],
)
def test_beyond_the_logs_start(log_start: int, position: int, first_held: int | None, gone: list[Range]) -> None:
    assert beyond(log_start, position, first_held) == gone


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30))))
def test_merged_ranges_are_the_same_offsets_apart_and_in_order(ranges: list[Range]) -> None:
    found = merged(ranges)
    assert {n for r in found for n in range(*r)} == {n for r in ranges for n in range(*r)}
    assert all(a[1] < b[0] for a, b in itertools.pairwise(found))


@given(*[st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)))] * 2)
def test_what_is_known_is_taken_out(ranges: list[Range], known: list[Range]) -> None:
    found = without(ranges, known)
    offsets = [{n for r in some for n in range(*r)} for some in (found, ranges, known)]
    assert offsets[0] == offsets[1] - offsets[2]
    assert all(a[1] < b[0] for a, b in itertools.pairwise(found))
