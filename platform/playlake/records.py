"""Kafka messages as columns: what the broker's room hands to the lake's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Run:
    """Messages of one partition in the order of their offsets, as columns of one length.

    Columns, because an object for each property of each message takes more time and memory than the message does.
    ``timestamps`` are milliseconds since 1970; ``keys`` and ``values`` are arrays of bytes or null. ``ahead`` is what
    their reader makes of all of them in advance; a part has none.
    """

    topic: str
    partition: int
    offsets: Longs
    timestamps: Longs
    keys: pa.LargeBinaryArray
    values: pa.LargeBinaryArray
    ahead: Future[Any] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        topic: str,
        partition: int,
        offsets: Sequence[int],
        timestamps: Sequence[int],
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
    ) -> Self:
        """Of plain sequences."""
        return cls(
            topic,
            partition,
            np.fromiter(offsets, np.int64, len(offsets)),
            np.fromiter(timestamps, np.int64, len(timestamps)),
            pa.array(keys, pa.large_binary()),
            pa.array(values, pa.large_binary()),
        )

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def following(self) -> int:
        """The offset after the last."""
        return int(self.offsets[-1]) + 1

    @property
    def bytes(self) -> int:
        """Of keys and values together."""
        return _bytes(self.keys) + _bytes(self.values)

    def messages(self) -> Iterator[tuple[int, int, Any, Any]]:
        """Offset, timestamp, key and value of each message."""
        return zip(
            self.offsets.tolist(),
            self.timestamps.tolist(),
            self.keys.to_pylist(),
            self.values.to_pylist(),
            strict=True,
        )

    def part(self, start: int, stop: int | None = None) -> Run:
        """The messages from one place to another; nothing is copied."""
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
        if (np.diff(self.offsets) > 0).all():
            start = int(np.searchsorted(self.offsets, offset))
            return self.part(start) if start else self
        highest = np.maximum.accumulate(self.offsets)
        rising = np.concatenate(([True], self.offsets[1:] > highest[:-1]))
        return self.only(rising & (self.offsets >= offset))

    def only(self, keep: npt.NDArray[np.bool_]) -> Run:
        """The messages that are marked."""
        marked = pa.array(keep)
        return Run(
            self.topic,
            self.partition,
            self.offsets[keep],
            self.timestamps[keep],
            self.keys.filter(marked),
            self.values.filter(marked),
        )


def _bytes(column: pa.LargeBinaryArray) -> int:
    ends = np.frombuffer(column.buffers()[1], np.int64) if len(column) else (0,)
    return int(ends[column.offset + len(column)] - ends[column.offset]) if len(column) else 0
