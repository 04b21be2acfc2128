"""Offsets that the log's retention removed before they were landed.

A lake can't tell them from offsets that never were: transactions and log compaction leave holes. So only those count
that the writer found gone and wrote down (the table ``bronze/log_gaps``), and those that the lake has not come to yet
and the log has no more.
"""

from __future__ import annotations

from collections.abc import Iterable

Range = tuple[int, int]
"""From the first offset to the one after the last."""


def beyond(log_start: int, position: int, first_held: int | None) -> list[Range]:
    """What is gone by the log's start alone.

    :param log_start: the first offset that the broker may still have.
    :param position: the next offset of the lake.
    :param first_held: the first offset that the lake has; None where it has none, or where who began after the log's
        first offsets has written that down: an aborted transaction is no message either.
    """
    if position < log_start:  # what comes next is no longer there
        gone = [(position, log_start)]
        if first_held:
            gone.append((0, min(first_held, position)))
        return merged(gone)
    if first_held is not None:  # landing began when the beginning was gone
        return merged([(0, min(first_held, log_start))])
    return []


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The same offsets in as few ranges as can be, in order."""
    found: list[Range] = []
    for first, following in sorted(r for r in ranges if r[0] < r[1]):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], following))
        else:
            found.append((first, following))
    return found


def without(ranges: Iterable[Range], others: Iterable[Range]) -> list[Range]:
    """The offsets of the one that are not in the other, in as few ranges as can be, in order."""
    found: list[Range] = []
    others = merged(others)
    for first, following in merged(ranges):
        at = first
        for begin, end in others:
            if begin < following and end > at:
                found.append((at, begin))
                at = end
        found.append((at, following))
    return merged(found)
