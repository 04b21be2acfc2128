"""The writer's core: what to keep, when to flush, what a flush may write. No clock and no I/O of its own.

Time is handed in (seconds on any monotonic clock), and so is what the tables hold. The order in which the shell
(:mod:`playlake.lake.writer`) calls this is the delivery scheme:

1. :meth:`Core.assign` with each partition's position in the lake; reading starts there.
2. :meth:`Core.add` buffers; :meth:`Core.due` says which topics are to be flushed.
3. :meth:`Core.take` hands out a batch; the shell compares :attr:`Batch.expected` with the table's transactions, writes
   dead letters, then bronze, each with the new positions in the same commit.
4. :meth:`Core.done` after the commit, or :meth:`Core.forget` and then 1 again after anything unexpected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from playlake.lake.schema import Dead, Message

Partition = tuple[str, int]
"""Topic and partition number."""


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
    commits, and those are not to be written again, whatever today's rules would say of them.
    """

    bronze: int
    dead_letters: int | None
    dead: frozenset[int] = frozenset()


@dataclass(slots=True)
class Batch:
    """What one flush of a topic is to write."""

    topic: str
    messages: list[Message]
    expected: dict[int, Position]
    """By partition, what the tables must still say; otherwise another writer has been here."""
    following: dict[int, int]
    """By partition, the next offset once this is committed."""

    def already_dead(self, message: Message) -> bool:
        """Whether dead letters hold this message since a run that died half-way."""
        return message.offset in self.expected[message.partition].dead

    def to_bury(self, dead: Iterable[Dead]) -> list[Dead]:
        """Those dead letters that are not in the table yet."""
        return [d for d in dead if not self.already_dead(d.message)]

    def burial_positions(self, dead: Iterable[Dead]) -> dict[int, int]:
        """By partition, the position of dead letters once these are in.

        It always grows, also where the table was ahead already: a position that stays would not fence another writer.
        One that is too high only costs a look at which offsets are there.
        """
        touched = {d.message.partition for d in dead}
        return {p: max(self.following[p], (self.expected[p].dead_letters or 0) + 1) for p in touched}


@dataclass(slots=True)
class _Buffer:
    messages: list[Message] = field(default_factory=list)
    bytes: int = 0
    since: float = 0.0


class Core:
    """Positions and buffers of the partitions assigned now."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._positions: dict[Partition, Position] = {}
        self._next: dict[Partition, int] = {}
        self._behind: set[Partition] = set()
        self._buffers: dict[str, _Buffer] = {}
        self.stale = 0
        """Messages dropped because the lake already had their offsets."""

    @property
    def assigned(self) -> set[Partition]:
        """The partitions that are ours now."""
        return set(self._positions)

    @property
    def buffered(self) -> int:
        """Rows waiting to be written."""
        return sum(len(b.messages) for b in self._buffers.values())

    def assign(self, positions: Mapping[Partition, Position]) -> dict[Partition, int]:
        """Take partitions over at the lake's positions; returns the offset to start each at."""
        for partition, position in positions.items():
            self._drop_buffered(partition)
            self._positions[partition] = position
            self._next[partition] = position.bronze
            self._behind.add(partition)
        return {p: self._next[p] for p in positions}

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Drop partitions and what is buffered of them: it is still in Kafka, and the lake has not got it."""
        for partition in partitions:
            self._drop_buffered(partition)
            self._positions.pop(partition, None)
            self._next.pop(partition, None)
            self._behind.discard(partition)

    def add(self, messages: Iterable[Message], now: float) -> None:
        """Buffer messages in the order of their offsets; those of other partitions or already known are dropped."""
        for message in messages:
            partition = (message.topic, message.partition)
            expected = self._next.get(partition)
            if expected is None:
                continue
            if message.offset < expected:
                self.stale += 1
                continue
            buffer = self._buffers.setdefault(message.topic, _Buffer())
            if not buffer.messages:
                buffer.since = now
            buffer.messages.append(message)
            buffer.bytes += len(message.value or b"") + len(message.key or b"")
            self._next[partition] = message.offset + 1

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

    def mark_behind(self, messages: Iterable[Message]) -> None:
        """New messages came: their partitions are not known to be at their end."""
        self._behind.update({(m.topic, m.partition) for m in messages} & self._positions.keys())

    def due(self, now: float) -> list[str]:
        """Topics to be flushed now."""
        found = []
        for topic, buffer in self._buffers.items():
            if not buffer.messages:
                continue
            behind = any(t == topic for t, _ in self._behind)
            rows = self._limits.catchup_rows if behind else self._limits.rows
            if (
                len(buffer.messages) >= rows
                or buffer.bytes >= self._limits.bytes
                or now - buffer.since >= self._limits.seconds
            ):
                found.append(topic)
        return found

    def waiting(self) -> list[str]:
        """Topics with anything buffered, due or not."""
        return [t for t, b in self._buffers.items() if b.messages]

    def take(self, topic: str) -> Batch:
        """All that is buffered of a topic, as one batch."""
        messages = self._buffers.pop(topic, _Buffer()).messages
        touched = {m.partition for m in messages}
        return Batch(
            topic,
            messages,
            expected={p: self._positions[topic, p] for p in touched},
            following={p: self._next[topic, p] for p in touched},
        )

    def done(self, batch: Batch, dead_letters: Mapping[int, int]) -> None:
        """The batch is committed; ``dead_letters`` gives the partitions whose position moved there too."""
        for number, following in batch.following.items():
            partition = (batch.topic, number)
            if partition in self._positions:
                before = self._positions[partition]
                # Those known to be dead stay known until reading has passed them: a batch may end in their middle.
                dead = frozenset(offset for offset in before.dead if offset >= following)
                self._positions[partition] = Position(following, dead_letters.get(number, before.dead_letters), dead)

    def _drop_buffered(self, partition: Partition) -> None:
        topic, number = partition
        buffer = self._buffers.get(topic)
        if buffer:
            buffer.messages = [m for m in buffer.messages if m.partition != number]
            buffer.bytes = sum(len(m.value or b"") + len(m.key or b"") for m in buffer.messages)
