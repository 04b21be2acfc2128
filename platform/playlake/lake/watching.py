"""What a writer tells of its work: the sum at its end, and as it goes to whoever watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from playlake import events
from playlake.broker import Polled, TopicPartition
from playlake.lake.core import Batch, Core, Partition
from playlake.lake.landing import Flushed


@dataclass(slots=True)
class Landed:
    """What a run of the writer did."""

    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(events.TOPICS, 0))
    dead_letters: int = 0
    flushes: int = 0
    fenced: int = 0
    assignments: int = 0
    """How often the group gave us partitions: once, unless members come, go or fall out."""
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """Events landed in bronze, all topics."""
        return sum(self.rows.values())


class Watcher:
    """Is told what a writer does; see :class:`playlake.lake.metrics.Metrics`."""

    def polled(self, polled: Polled) -> None:
        """Messages were read."""

    def flushed(self, batch: Batch, flushed: Flushed) -> None:
        """A batch was committed."""

    def failed(self, topic: str, kind: str) -> None:
        """What was read was not committed, and dropped: ``fenced``, ``failed``, ``lost`` or ``made_anew``."""

    def turn(
        self, core: Core, mine: set[Partition], claimed_end: Callable[[TopicPartition], int | None], now: float
    ) -> None:
        """A turn of the loop begins.

        :param mine: also the partitions whose place in the lake is not known yet, and those that were lost and of which
            it is not known yet whose they are.
        """
