"""What a writer had read and then dropped, since a flush failed: it is to be landed before the writer ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from playlake.lake.core import Core, Partition

SECONDS = 20.0
"""How long the end of a run may take to read once more what was dropped."""


class Owed:
    """By partition, up to which offset had been read when it was dropped, until the lake has got that far.

    :param core: what is read, and what is landed.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._upto: dict[Partition, int] = {}
        self._read_before: dict[Partition, int] | None = None
        """How far had been read when the end began."""
        self._until = float("inf")

    def __bool__(self) -> bool:
        return bool(self._upto)

    @property
    def upto(self) -> dict[Partition, int]:
        """By partition, the offset after the last one that is owed."""
        return dict(self._upto)

    def note(self, partitions: Iterable[Partition]) -> None:
        """What was read of these, and has not landed, is about to be dropped."""
        read, landed = self._core.reading(), self._core.landed()
        if self._read_before is not None:  # what was read since is owed to nobody: a feed must not put the end off
            read = {p: min(offset, self._read_before.get(p, 0)) for p, offset in read.items()}
        self._upto |= {p: max(read[p], self._upto.get(p, 0)) for p in partitions if p in read and read[p] > landed[p]}

    def settle(self, landed: Mapping[Partition, int] | None = None) -> None:
        """Strike off what the lake has now.

        :param landed: what was committed, by next offset; of partitions that are not ours any more, too.
        """
        now, landed = self._core.landed(), landed or {}
        self._upto = {p: end for p, end in self._upto.items() if max(now.get(p, 0), landed.get(p, 0)) < end}

    def forget(self, partitions: Iterable[Partition]) -> None:
        """These are for another to read, or are no more."""
        for partition in partitions:
            self._upto.pop(partition, None)

    def end(self, now: float) -> bool:
        """The run is to end: from the first time on that something is owed then, its time runs. Whether this is it."""
        if not self._upto or self._read_before is not None:
            return False
        read = self._core.reading()
        self._read_before = {p: max(read.get(p, 0), self._upto.get(p, 0)) for p in read.keys() | self._upto}
        self._until = now + SECONDS
        return True

    def late(self, now: float) -> bool:
        """Whether the time is over in which the end may read once more."""
        return now >= self._until
