"""Kafka messages as columns: what the broker's room hands to the lake's."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import compress, islice
from operator import ge


@dataclass(slots=True)
class Run:
    """Messages of one partition in the order of their offsets, as columns of one length.

    Columns, because a list for each property costs a tenth of an object for each message. ``timestamps`` are
    milliseconds since 1970.
    """

    topic: str
    partition: int
    offsets: list[int] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def bytes(self) -> int:
        """Of keys and values together."""
        return sum(map(len, filter(None, self.keys))) + sum(map(len, filter(None, self.values)))

    def ordered(self) -> bool:
        """Whether each offset is greater than the one before it."""
        return not any(map(ge, self.offsets, islice(self.offsets, 1, None)))

    def part(self, start: int, stop: int | None = None) -> Run:
        """The messages from one place to another."""
        place = slice(start, stop)
        return Run(
            self.topic,
            self.partition,
            self.offsets[place],
            self.timestamps[place],
            self.keys[place],
            self.values[place],
        )

    def since(self, offset: int) -> Run:
        """The messages at or after an offset, each offset once; itself if that is all of them."""
        if not self.ordered():
            return self._rising(offset)
        start = bisect_left(self.offsets, offset)
        return self.part(start) if start else self

    def _rising(self, offset: int) -> Run:
        keep: list[bool] = []
        for at in self.offsets:
            keep.append(at >= offset)
            offset = max(offset, at + 1)
        return self.only(keep)

    def only(self, keep: Sequence[bool]) -> Run:
        """The messages that are marked."""
        columns = (self.offsets, self.timestamps, self.keys, self.values)
        return Run(self.topic, self.partition, *(list(compress(column, keep)) for column in columns))  # type: ignore[arg-type]
