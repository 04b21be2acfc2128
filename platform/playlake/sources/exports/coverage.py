"""Which files of an import cover the same time with different plays: two people's, most likely."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime

from playlake import events

_HOUR_S = 3600


class Coverage:
    """The plays of one file: by hour, a sum that is the same where the plays are."""

    def __init__(self, label: str) -> None:
        self.label = label
        self._hours: defaultdict[int, int] = defaultdict(int)

    def add(self, event: events.Event) -> None:
        """Count a play in."""
        hour = int(event.played_at.timestamp()) // _HOUR_S
        self._hours[hour] ^= hash(event.event_id) | 1

    def differs(self, other: Coverage) -> tuple[datetime, datetime] | None:
        """From when to when both have plays, if they are not the same there.

        The first and the last hour are left out: there one file of an export ends and the next begins.
        """
        mine, theirs = self._hours, other._hours
        if not mine or not theirs:
            return None
        first, last = max(min(mine), min(theirs)), min(max(mine), max(theirs))
        inner = (hour for hour in mine.keys() | theirs.keys() if first < hour < last)
        if all(mine.get(hour) == theirs.get(hour) for hour in inner):
            return None
        return datetime.fromtimestamp(first * _HOUR_S, UTC), datetime.fromtimestamp((last + 1) * _HOUR_S, UTC)


def overlaps(files: Iterable[Coverage]) -> list[str]:
    """For each two files that cover the same time with different plays, a sentence that says so."""
    found = []
    for one, other in itertools.combinations(files, 2):
        if time := one.differs(other):
            start, end = time
            found.append(
                f"{one.label} and {other.label} cover the same time ({start:%Y-%m-%d} to {end:%Y-%m-%d}) with different"
                " plays. If they are of two people, import each with a --user of its own (in the inbox:"
                " PLAYLAKE_LISTENER)."
            )
    return found
