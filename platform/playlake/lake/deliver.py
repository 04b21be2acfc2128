"""One flush, in the order that makes it exactly once. It knows tables only by what they promise.

Exactly once because every commit to a table carries the next offsets of the partitions it moves, and reading starts at
those:

1. the batch has been decoded, each message told apart: an event, or dead with a reason;
2. where some are dead, bronze: only if it is where we left it, count that a burial begins;
3. dead letters: only if they are where we left them, add the new ones with their positions and that count;
4. bronze: only if it is where we left it, add the rows with the new positions (also when no row is left to add).

Dying between any two of these loses and doubles nothing: reading starts again at bronze's position, and the dead
letters written after it are known by their offsets. A commit that meets another's on the same partition fails, so a
writer that was frozen and replaced (a zombie) can't write: it drops what it holds and starts again at the tables'
positions.

The count (of burials of a partition, begun by bronze's, done by dead letters') is there since two writers may judge a
message otherwise: one knows a column that the other does not, or is of another release. Without it one could bury what
the other lands. Who lands needs that no burial has begun since it looked for dead letters; who buries, that bronze was
not past it when it began; and who finds one begun and not done ends it, so that it can't be done any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from playlake import failpoints
from playlake.lake.core import Batch, Partition, Position

Rows = TypeVar("Rows", contravariant=True)


class FencedError(Exception):
    """Another writer committed a position of ours: what we hold is to be dropped and read again."""


class Ledger(Protocol[Rows]):
    """A table whose every commit moves positions together with the rows, or neither."""

    def refresh(self) -> None:
        """See the latest version."""

    def position(self, app: str) -> int | None:
        """The next offset of a partition, at the version last seen."""

    def offsets_from(self, topic_id: str, partition: int, start: int) -> frozenset[int]:
        """Offsets at or after ``start`` that the table holds of a partition."""

    def append(self, rows: Rows, expected: Mapping[str, int | None], following: Mapping[str, int]) -> int:
        """Add rows and move positions on, in one commit; :class:`FencedError` where one is not as expected."""


class Dead(Protocol):
    """A message that can't be an event."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...


DeadT = TypeVar("DeadT", bound=Dead)


def app_id(topic: str, topic_id: str, partition: int) -> str:
    """The Delta application transaction of a partition; a topic made anew has another id and starts over."""
    return f"{topic}:{topic_id}:{partition}"


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a flush has committed. ``buried`` are the positions of dead letters, of partitions that had some."""

    buried: dict[int, int]
    dead_letters: int


def locate(
    partitions: Iterable[Partition],
    topic_ids: Mapping[str, str],
    bronze: Mapping[str, Ledger[Rows]],
    dead: Ledger[Rows],
    none_dead: Rows,
    no_rows: Callable[[str], Rows],
) -> dict[Partition, Position]:
    """Where the tables have each partition.

    Bronze is read first: dead letters are written before it, so what is then seen of them is never too old.

    :param none_dead: no rows of dead letters.
    :param no_rows: by topic, none of its bronze table's.
    :raises FencedError: when another writer buries just now, or bronze's count had to be mended: look once more.
    """
    wanted = list(partitions)
    for table in [*{t: bronze[t] for t, _ in wanted}.values(), dead]:
        table.refresh()
    found = {}
    for topic, number in wanted:
        app = app_id(topic, topic_ids[topic], number)
        passed = bronze[topic].position(app) or 0
        buried = dead.position(app)
        burials = _burials_id(app)
        begun, done = bronze[topic].position(burials), dead.position(burials)
        if (done or 0) > (begun or 0):
            bronze[topic].refresh()
            begun = bronze[topic].position(burials)
            if done and done > (begun or 0):  # none is done that has not begun: bronze was set back, or made anew
                position = bronze[topic].position(app)
                bronze[topic].append(no_rows(topic), {app: position, burials: begun}, {burials: done})
            raise FencedError(f"{app}: a burial began after the look at bronze, or bronze was set back")
        if begun is not None and begun != done:
            dead.append(none_dead, {app: buried, burials: done}, {burials: begun})
        ahead = buried is not None and buried > passed
        known = dead.offsets_from(topic_ids[topic], number, passed) if ahead else frozenset()
        found[topic, number] = Position(passed, buried, known, begun)
    return found


def pass_gap(
    partition: Partition, topic_id: str, position: int, begins: int, bronze: Ledger[Rows], no_rows: Rows
) -> None:
    """Move bronze on over what Kafka deleted before it was landed: offsets from ``position`` to before ``begins``.

    From this commit on a zombie that still holds some of them can't land them. With it the table keeps where the gap
    is, for :func:`record_gap`: dying between the two loses no word of it.

    :raises FencedError: when another writer has been here.
    """
    app = app_id(partition[0], topic_id, partition[1])
    first, end = _gap_ids(app)
    bronze.append(no_rows, {app: position or None}, {app: begins, first: position, end: begins})


def record_gap(
    partition: Partition,
    topic_id: str,
    bronze: Ledger[Rows],
    gaps: Ledger[Rows],
    row: Callable[[int, int], Rows],
) -> int:
    """Write down the gap that bronze has passed last, if it is not written down yet.

    Dead letters may hold some of these offsets: they are written before bronze.

    :param bronze: as of a version that has been looked at.
    :param row: makes the row of a gap from its first offset and the one after its last.
    :returns: how many offsets were recorded now.
    :raises FencedError: when another writer recorded something meanwhile.
    """
    app = app_id(partition[0], topic_id, partition[1])
    first, end = (bronze.position(name) for name in _gap_ids(app))
    if first is None or end is None:
        return 0
    gaps.refresh()
    recorded = gaps.position(app)
    first = max(first, recorded or 0)
    if first >= end:
        return 0
    failpoints.hit("between-gap-and-record")
    gaps.append(row(first, end), {app: recorded}, {app: end})
    return end - first


def gaps_passed(positions: Mapping[str, int], topic: str) -> Iterator[tuple[str, int, int, int]]:
    """Of a bronze table's transactions, the last gap of each partition: topic id, partition, its first offset and the
    one after its last. One whose writer died before :func:`record_gap` is in no other place."""
    prefix = f"gap-first:{topic}:"
    for name, first in positions.items():
        if name.startswith(prefix):
            topic_id, _, partition = name.removeprefix(prefix).rpartition(":")
            yield topic_id, int(partition), first, positions[_gap_ids(app_id(topic, topic_id, int(partition)))[1]]


def _gap_ids(app: str) -> tuple[str, str]:
    """The application transactions that keep a partition's last gap: its first offset, and the one after its last."""
    return f"gap-first:{app}", f"gap-end:{app}"


def _burials_id(app: str) -> str:
    """The application transaction that counts a partition's burials: in bronze those begun, in dead letters those done,
    or ended by another writer."""
    return f"burials:{app}"


def deliver(
    batch: Batch,
    topic_id: str,
    dead: list[DeadT],
    bronze_table: Ledger[Rows],
    dead_table: Ledger[Rows],
    *,
    bronze_rows: Callable[[], Rows],
    dead_rows: Callable[[list[DeadT]], Rows],
    no_rows: Rows,
) -> Delivered:
    """Commit a batch whose messages have been told apart.

    :param dead: those that can't be events.
    :param bronze_rows: makes the rows of all others that dead letters do not hold already.
    :param dead_rows: makes the rows of these dead.
    :param no_rows: none of bronze's.
    :raises FencedError: when another writer has been here; nothing of the batch is in bronze.
    """
    apps = {p: app_id(batch.topic, topic_id, p) for p in batch.following}
    bury = [d for d in dead if not batch.already_dead(d.partition, d.offset)]
    buried = batch.burial_positions(d.partition for d in bury) if bury else {}
    places = {apps[p]: batch.expected[p].bronze or None for p in batch.following}
    before = {_burials_id(apps[p]): batch.expected[p].burials for p in batch.following}
    begun = {_burials_id(apps[p]): (batch.expected[p].burials or 0) + 1 for p in buried}
    if bury:
        bronze_table.append(no_rows, {apps[p]: places[apps[p]] for p in buried} | {b: before[b] for b in begun}, begun)
        failpoints.hit("before-dead-letters")
        dead_table.append(
            dead_rows(bury),
            {apps[p]: batch.expected[p].dead_letters for p in buried} | {b: before[b] for b in begun},
            {apps[p]: following for p, following in buried.items()} | begun,
        )
        failpoints.hit("between-dead-letters-and-bronze")
    bronze_table.append(
        bronze_rows(),
        places | before | begun,
        {apps[p]: following for p, following in batch.following.items()},
    )
    return Delivered(buried, len(bury))
