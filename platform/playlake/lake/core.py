"""The writer's core: what to keep, when to flush, what a flush may write. No clock and no I/O of its own.

Time is handed in (seconds on any monotonic clock), and so is what the tables hold. The order in which the shell
(:mod:`playlake.lake.writer`) calls this is the delivery scheme:

1. :meth:`Core.assign` with each partition's position in the lake; reading starts there.
2. :meth:`Core.add` buffers; :meth:`Core.due` says which topics are to be flushed.
3. :meth:`Core.take` hands out a batch, of which a topic has one at a time under way; :mod:`playlake.lake.deliver`
   compares :attr:`Batch.expected` with the tables' transactions and writes dead letters, then bronze.
4. :meth:`Core.done` after the commit, or :meth:`Core.forget` and then 1 again after anything unexpected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from playlake.records import Run

Partition = tuple[str, int]
"""Topic and partition number."""


_CATCHUP_SECONDS = 1.0
"""How long ``catchup_rows`` are waited for. What is far behind brings them sooner; what comes as fast as it is read may
never be seen at its end, and is not to wait for it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a topic is flushed: at ``rows`` (``catchup_rows`` while behind), ``bytes`` or ``seconds`` of age."""

    rows: int
    catchup_rows: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Position:
    """How far the lake has a partition: the next offset by bronze, and the next by dead letters (None: none yet).

    ``dead`` are the offsets at or after ``bronze`` that dead letters already hold: a writer died between the two
    commits, and those are not to be written again, whatever today's rules would say of them. ``burials`` is
    how many burials bronze has counted as begun, those that were broken off too (None: none yet).
    """

    bronze: int
    dead_letters: int | None
    dead: frozenset[int] = frozenset()
    burials: int | None = None


@dataclass(slots=True)
class Batch:
    """What one flush of a topic is to write."""

    topic: str
    runs: list[Run]
    expected: dict[int, Position]
    """By partition, what the tables must still say; otherwise another writer has been here."""
    following: dict[int, int]
    """By partition, the next offset once this is committed."""
    terms: dict[int, int]
    """By partition, which assignment of it this belongs to: what is done in one changes nothing in the next."""
    since: float = 0.0
    """When its oldest message was buffered."""

    def __len__(self) -> int:
        return sum(map(len, self.runs))

    def already_dead(self, partition: int, offset: int) -> bool:
        """Whether dead letters hold this message since a run that died half-way."""
        return offset in self.expected[partition].dead

    def burial_positions(self, partitions: Iterable[int]) -> dict[int, int]:
        """By partition, the position of dead letters once those of the batch are in.

        It always grows, also where the table was ahead already: a position that stays would not fence another writer.
        One that is too high only costs a look at which offsets are there.
        """
        return {p: max(self.following[p], (self.expected[p].dead_letters or 0) + 1) for p in set(partitions)}


@dataclass(slots=True)
class _Buffer:
    runs: list[Run] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    since: float = 0.0


class Core:
    """Positions and buffers of the partitions assigned now."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._positions: dict[Partition, Position] = {}
        self._next: dict[Partition, int] = {}
        self._terms: dict[Partition, int] = {}
        self._behind: set[Partition] = set()
        self._buffers: dict[str, _Buffer] = {}
        self._under_way: dict[str, float] = {}

    @property
    def buffered(self) -> int:
        """Rows waiting to be written."""
        return sum(b.rows for b in self._buffers.values())

    @property
    def buffered_bytes(self) -> int:
        """Bytes of keys and values waiting to be written."""
        return sum(b.bytes for b in self._buffers.values())

    def since(self) -> dict[str, float]:
        """By topic, when the oldest row that is not written yet was buffered; without topics that have none."""
        waiting = {topic: b.since for topic, b in self._buffers.items() if b.rows}
        return waiting | self._under_way  # what is under way was there before what waits

    def landed(self) -> dict[Partition, int]:
        """By partition, the next offset in the lake."""
        return {p: position.bronze for p, position in self._positions.items()}

    def reading(self) -> dict[Partition, int]:
        """By partition, the next offset to be read."""
        return dict(self._next)

    def assign(self, positions: Mapping[Partition, Position]) -> dict[Partition, int]:
        """Take partitions over at the lake's positions; returns the offset to start each at."""
        for partition, position in positions.items():
            self._drop_buffered(partition)
            self._positions[partition] = position
            self._next[partition] = position.bronze
            self._terms[partition] = self._terms.get(partition, 0) + 1
            self._behind.add(partition)
        return {p: self._next[p] for p in positions}

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Drop partitions and what is buffered of them: it is still in Kafka, and the lake has not got it."""
        for partition in partitions:
            self._drop_buffered(partition)
            self._positions.pop(partition, None)
            self._next.pop(partition, None)
            self._behind.discard(partition)

    def add(self, runs: Iterable[Run], now: float) -> None:
        """Buffer messages; those of partitions that are not ours, and offsets already read, are dropped."""
        for run in runs:
            partition = (run.topic, run.partition)
            expected = self._next.get(partition)
            if expected is None:
                continue
            fresh = run.since(expected)
            if not fresh:
                continue
            buffer = self._buffers.setdefault(run.topic, _Buffer())
            if not buffer.rows:
                buffer.since = now
            buffer.runs.append(fresh)
            buffer.rows += len(fresh)
            buffer.bytes += fresh.bytes
            self._next[partition] = fresh.following

    def reached_end(self, ends: Iterable[tuple[Partition, int]]) -> None:
        """Note that reading has caught up with these partitions."""
        for partition, end in ends:
            if end <= self._next.get(partition, -1):
                self._behind.discard(partition)

    @property
    def behind(self) -> set[Partition]:
        """The partitions that are ours and not known to be read to their end."""
        return set(self._behind)

    def at_end(self) -> bool:
        """Whether every assigned partition was read to its end."""
        return not self._behind

    def mark_behind(self, partitions: Iterable[Partition]) -> None:
        """New messages came: these partitions are not known to be at their end."""
        self._behind.update(set(partitions) & self._positions.keys())

    def due(self, now: float) -> list[str]:
        """Topics to be flushed now, the one that has waited longest first; none that has a batch under way."""
        found = []
        for topic in self.waiting():
            buffer = self._buffers[topic]
            behind = any(t == topic for t, _ in self._behind)
            waited = now - buffer.since
            rows = self._limits.catchup_rows if behind and waited < _CATCHUP_SECONDS else self._limits.rows
            old = waited >= self._limits.seconds
            if buffer.rows >= rows or buffer.bytes >= self._limits.bytes or old:
                found.append(topic)
        return found

    def full(self) -> bool:
        """Whether as much is buffered as one flush may take, so that reading on would only cost memory."""
        return any(b.rows >= self._limits.catchup_rows or b.bytes >= self._limits.bytes for b in self._buffers.values())

    def waiting(self) -> list[str]:
        """Topics with anything buffered and no batch under way, due or not, oldest first."""
        found = [(b.since, t) for t, b in self._buffers.items() if b.rows and t not in self._under_way]
        return [topic for _, topic in sorted(found)]

    def take(self, topic: str) -> Batch:
        """All that is buffered of a topic, as one batch. No other of the topic is given out until it is done."""
        buffer = self._buffers.pop(topic, _Buffer())
        touched = {run.partition for run in buffer.runs}
        self._under_way[topic] = buffer.since
        following: dict[int, int] = {}
        for run in buffer.runs:
            following[run.partition] = run.following
        return Batch(
            topic,
            buffer.runs,
            expected={p: self._positions[topic, p] for p in touched},
            following=following,
            terms={p: self._terms[topic, p] for p in touched},
            since=buffer.since,
        )

    def ended(self, batch: Batch) -> None:
        """The batch is no longer under way, however it ended."""
        self._under_way.pop(batch.topic, None)

    def done(self, batch: Batch, dead_letters: Mapping[int, int]) -> None:
        """The batch is committed; ``dead_letters`` gives the partitions whose position moved there too."""
        self.ended(batch)
        for number, following in batch.following.items():
            partition = (batch.topic, number)
            if partition not in self._positions or self._terms[partition] != batch.terms[number]:
                continue  # given away since, maybe even taken back at a position read before this commit
            before = self._positions[partition]
            # Those known to be dead stay known until reading has passed them: a batch may end in their middle.
            dead = frozenset(offset for offset in before.dead if offset >= following)
            buried = dead_letters.get(number)
            burials = before.burials if buried is None else (before.burials or 0) + 1
            at = before.dead_letters if buried is None else buried
            self._positions[partition] = Position(following, at, dead, burials)

    def _drop_buffered(self, partition: Partition) -> None:
        topic, number = partition
        if buffer := self._buffers.get(topic):
            buffer.runs = [run for run in buffer.runs if run.partition != number]
            buffer.rows = sum(map(len, buffer.runs))
            buffer.bytes = sum(run.bytes for run in buffer.runs)
