"""The writer's core: whatever dies, freezes or fails, in the end every offset is in the lake exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import settings as h
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from playlake.lake.core import Batch, Core, Limits, Partition, Position
from playlake.lake.schema import Dead, Message

TOPIC = "user_plays"
LAZY = Limits(rows=10**9, catchup_rows=10**9, bytes=10**9, seconds=10**9)


@dataclass(frozen=True, slots=True)
class Msg:
    """A message; a value of ``bad`` can't be an event."""

    offset: int
    partition: int = 0
    topic: str = TOPIC
    timestamp_ms: int = 0
    key: bytes | None = None
    value: bytes | None = b"good"


def messages(*offsets: int, partition: int = 0, value: bytes | None = b"good", topic: str = TOPIC) -> list[Msg]:
    return [Msg(offset, partition, topic, value=value) for offset in offsets]


def offsets(batch: Batch) -> list[int]:
    return [message.offset for message in batch.messages]


def at(bronze: int, dead: int | None = None) -> Position:
    return Position(bronze, dead)


def assigned(limits: Limits = LAZY, **positions: int) -> Core:
    core = Core(limits)
    core.assign({(TOPIC, int(name[1:])): at(bronze) for name, bronze in positions.items()} or {(TOPIC, 0): at(0)})
    return core


# -- buffering and positions --------------------------------------------------------------------------------------


def test_reading_starts_at_bronze_whatever_dead_letters_say() -> None:
    core = Core(LAZY)
    assert core.assign({(TOPIC, 0): at(7, dead=20), (TOPIC, 1): at(0)}) == {(TOPIC, 0): 7, (TOPIC, 1): 0}
    assert core.assigned == {(TOPIC, 0), (TOPIC, 1)}


def test_a_batch_says_where_it_begins_and_ends() -> None:
    core = assigned(p0=5, p1=9)
    core.add([*messages(5, 6), *messages(9, 12, partition=1)], 0)  # 10 and 11 were compacted away
    batch = core.take(TOPIC)
    assert batch.expected == {0: at(5), 1: at(9)}
    assert batch.following == {0: 7, 1: 13}
    assert offsets(batch) == [5, 6, 9, 12]
    assert (core.buffered, core.waiting()) == (0, [])


def test_a_batch_names_only_the_partitions_it_has_rows_of() -> None:
    core = assigned(p0=0, p1=0)
    core.add(messages(0), 0)
    assert core.take(TOPIC).following == {0: 1}


def test_offsets_that_the_lake_has_are_dropped() -> None:
    core = assigned(p0=5)
    core.add(messages(3, 4, 5, 5, 6, 4), 0)
    assert offsets(core.take(TOPIC)) == [5, 6]
    assert core.stale == 4


def test_messages_of_other_partitions_are_dropped() -> None:
    core = assigned(p0=0)
    core.add([*messages(0, partition=1), *messages(0, topic="user_skips")], 0)
    assert (core.buffered, core.stale) == (0, 0)


def test_the_next_batch_follows_the_one_that_is_done() -> None:
    core = assigned(p0=0)
    core.add(messages(0, 1), 0)
    first = core.take(TOPIC)
    core.add(messages(2), 0)  # read while the first was being written
    core.done(first, {0: 2})
    second = core.take(TOPIC)
    assert (second.expected, second.following) == ({0: at(2, dead=2)}, {0: 3})
    core.done(second, {})
    core.add(messages(3), 0)
    assert core.take(TOPIC).expected == {0: at(3, dead=2)}  # dead letters stay where they are without dead


def test_forgotten_partitions_take_their_rows_along() -> None:
    core = assigned(p0=0, p1=0)
    core.add([*messages(0, 1), *messages(0, 1, 2, partition=1)], 0)
    core.forget([(TOPIC, 1)])
    assert core.assigned == {(TOPIC, 0)}
    assert core.take(TOPIC).following == {0: 2}
    core.add(messages(3, partition=1), 0)
    assert core.buffered == 0


def test_a_batch_done_after_its_partition_was_lost_changes_nothing() -> None:
    core = assigned(p0=0)
    core.add(messages(0), 0)
    batch = core.take(TOPIC)
    core.forget([(TOPIC, 0)])
    core.done(batch, {})
    assert core.assigned == set()


def test_assigned_again_reading_starts_again() -> None:
    core = assigned(p0=0)
    core.add(messages(0, 1, 2), 0)
    assert core.assign({(TOPIC, 0): at(1)}) == {(TOPIC, 0): 1}
    core.add(messages(0, 1), 0)
    batch = core.take(TOPIC)
    assert (offsets(batch), batch.expected) == ([1], {0: at(1)})


def test_dead_letters_from_before_a_crash_are_not_buried_again() -> None:
    core = Core(LAZY)
    core.assign({(TOPIC, 0): Position(0, 10, frozenset({1, 8}))})
    core.add(messages(0, 1, 2), 0)
    batch = core.take(TOPIC)
    assert [batch.already_dead(message) for message in batch.messages] == [False, True, False]
    assert [d.message.offset for d in batch.to_bury([Dead(m, "bad") for m in batch.messages])] == [0, 2]


def test_dead_letters_from_before_a_crash_are_known_beyond_the_first_flush() -> None:
    core = Core(LAZY)
    core.assign({(TOPIC, 0): Position(0, 10, frozenset({1, 8}))})
    core.add(messages(0, 1, 2), 0)
    core.done(core.take(TOPIC), {})
    core.add(messages(*range(3, 10)), 0)
    batch = core.take(TOPIC)
    assert [m.offset for m in batch.messages if batch.already_dead(m)] == [8]


# -- when to flush ------------------------------------------------------------------------------------------------


def test_flushed_by_rows_and_later_while_behind() -> None:
    core = assigned(Limits(rows=2, catchup_rows=5, bytes=10**9, seconds=10**9))
    core.add(messages(0, 1, 2, 3), 0)
    assert core.due(0) == []
    core.reached_end([((TOPIC, 0), 5)])
    assert core.due(0) == []  # not there yet
    core.reached_end([((TOPIC, 0), 4)])
    assert core.due(0) == [TOPIC]
    core.mark_behind(messages(4))
    assert core.due(0) == []
    core.add(messages(4), 0)
    assert core.due(0) == [TOPIC]  # as many as even catching up waits for


def test_flushed_by_age_of_the_oldest_row() -> None:
    core = assigned(Limits(rows=10**9, catchup_rows=10**9, bytes=10**9, seconds=60))
    core.add(messages(0), 100)
    core.add(messages(1), 150)
    assert core.due(159.9) == []
    assert core.due(160) == [TOPIC]
    core.take(TOPIC)
    core.add(messages(2), 170)
    assert core.due(229.9) == []
    assert core.due(230) == [TOPIC]


def test_flushed_by_bytes_of_keys_and_values() -> None:
    core = assigned(Limits(rows=10**9, catchup_rows=10**9, bytes=10, seconds=10**9))
    core.add([Msg(0, key=b"1234", value=b"5678")], 0)
    core.add([Msg(1, key=None, value=None)], 0)
    assert core.due(0) == []
    core.add([Msg(2, key=b"9", value=b"0")], 0)
    assert core.due(0) == [TOPIC]


def test_bytes_of_lost_partitions_do_not_count() -> None:
    core = assigned(Limits(rows=10**9, catchup_rows=10**9, bytes=10, seconds=10**9), p0=0, p1=0)
    core.add([Msg(0, value=b"123456"), Msg(0, 1, value=b"123456")], 0)
    assert core.due(0) == [TOPIC]
    core.forget([(TOPIC, 1)])
    assert core.due(0) == []


def test_topics_are_flushed_by_themselves() -> None:
    core = Core(Limits(rows=1, catchup_rows=1, bytes=10**9, seconds=10**9))
    core.assign({("user_plays", 0): at(0), ("user_skips", 0): at(0)})
    core.add(messages(0, topic="user_skips"), 0)
    assert core.due(0) == core.waiting() == ["user_skips"]


def test_at_the_end_when_every_partition_is() -> None:
    core = assigned(p0=0, p1=3)
    assert not core.at_end()
    core.reached_end([((TOPIC, 1), 3), ((TOPIC, 9), 0)])
    assert not core.at_end()
    core.forget([(TOPIC, 0)])
    assert core.at_end()
    core.mark_behind(messages(7, partition=5))  # none of ours
    assert core.at_end()
    core.mark_behind(messages(3, partition=1))
    assert not core.at_end()


# -- exactly once -------------------------------------------------------------------------------------------------


class FencedError(Exception):
    """Another writer was here."""


class LostError(Exception):
    """The store did not answer: the commit may or may not have happened."""


class CrashError(Exception):
    """The process is gone."""


@dataclass
class FakeTable:
    """A Delta table as the writer sees it: rows and positions move in one commit, or neither does."""

    positions: dict[int, int] = field(default_factory=dict)
    rows: list[tuple[int, int]] = field(default_factory=list)
    commits: int = 0

    def append(self, rows: list[Message], expected: dict[int, int | None], following: dict[int, int]) -> None:
        for partition, position in expected.items():
            if self.positions.get(partition) != position:
                raise FencedError
        for partition, position in following.items():
            assert position >= (self.positions.get(partition) or 0), "a position never goes back"
        self.rows += [(message.partition, message.offset) for message in rows]
        self.positions |= following
        self.commits += 1


class Writer:
    """The shell around a core, as short as it can be: the same steps as ``playlake.lake.writer``."""

    def __init__(self, bronze: FakeTable, dead: FakeTable) -> None:
        self.bronze, self.dead = bronze, dead
        self.core = Core(LAZY)
        self.reading: dict[int, int] = {}

    def assign(self, partitions: set[int]) -> None:
        found: dict[Partition, Position] = {}
        for p in partitions:
            bronze, dead = self.bronze.positions.get(p, 0), self.dead.positions.get(p)
            ahead = dead is not None and dead > bronze
            known = frozenset(o for q, o in self.dead.rows if q == p and o >= bronze) if ahead else frozenset()
            found[TOPIC, p] = Position(bronze, dead, known)
        self.reading |= {p: start for (_, p), start in self.core.assign(found).items()}

    def revoke(self, partitions: set[int]) -> None:
        self.core.forget([(TOPIC, p) for p in partitions])
        for p in partitions:
            self.reading.pop(p, None)

    def read(self, log: dict[int, list[Msg]], most: int) -> None:
        for p, start in self.reading.items():
            polled = log[p][start : start + most]
            self.core.add(polled, 0)
            self.reading[p] = start + len(polled)

    def flush(self, is_bad: Callable[[Message], bool], fault: str = "") -> None:
        """Bury, land, done. A fault is ``<crash|lost> <before|after> <dead|bronze>``: around that table's commit."""
        batch = self.core.take(TOPIC)
        if not batch.messages:
            return
        bad = [m for m in batch.messages if is_bad(m)]
        try:
            bury = [d.message for d in batch.to_bury([Dead(m, "bad") for m in bad])]
            moved = {
                p: max(batch.following[p], batch.expected[p].dead_letters or 0) for p in {m.partition for m in bury}
            }
            if bury:
                before = {p: batch.expected[p].dead_letters for p in moved}
                self._commit(self.dead, bury, before, moved, fault, "dead")
            good = [m for m in batch.messages if m not in bad and not batch.already_dead(m)]
            start = {p: batch.expected[p].bronze or None for p in batch.following}
            self._commit(self.bronze, good, start, batch.following, fault, "bronze")
        except (FencedError, LostError):
            self.assign(set(self.reading))
        else:
            self.core.done(batch, moved)

    def _commit(
        self,
        table: FakeTable,
        rows: list[Message],
        expected: dict[int, int | None],
        following: dict[int, int],
        fault: str,
        name: str,
    ) -> None:
        error: type[Exception] = CrashError if fault.startswith("crash") else LostError
        if fault.endswith(f"before {name}"):
            raise error
        table.append(rows, expected, following)
        if fault.endswith(f"after {name}"):
            raise error


FAULTS = [
    f"{kind} {when} {table}"
    for kind in ("crash", "lost")
    for when in ("before", "after")
    for table in ("dead", "bronze")
]
PARTITIONS = {0, 1}


def bad_by_value(message: Message) -> bool:
    return message.value == b"bad"


def bad_by_new_rules(message: Message) -> bool:
    """A release later, what was an event is none and the other way round, for every third offset."""
    return bad_by_value(message) is not (message.offset % 3 == 0)


class ExactlyOnce(RuleBasedStateMachine):
    """Two writers, of which each thinks at times that it is alone, and everything that can go wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.log: dict[int, list[Msg]] = {p: [] for p in PARTITIONS}
        # Append-only tables can't be doubled without a dead letter table that stays behind: its own positions move
        # only when there is something dead.
        self.bronze, self.dead = FakeTable(), FakeTable()
        self.writers = [Writer(self.bronze, self.dead) for _ in range(2)]
        self.is_bad: Callable[[Message], bool] = bad_by_value

    @initialize()
    def start(self) -> None:
        self.writers[0].assign(PARTITIONS)

    @rule(partition=st.sampled_from(sorted(PARTITIONS)), bad=st.lists(st.booleans(), min_size=1, max_size=6))
    def produce(self, partition: int, bad: list[bool]) -> None:
        log = self.log[partition]
        log += [Msg(len(log) + n, partition, value=b"bad" if b else b"good") for n, b in enumerate(bad)]

    @rule(who=st.integers(0, 1), most=st.integers(1, 7))
    def read(self, who: int, most: int) -> None:
        self.writers[who].read(self.log, most)

    @rule(who=st.integers(0, 1))
    def flush(self, who: int) -> None:
        self.writers[who].flush(self.is_bad)

    @rule(who=st.integers(0, 1), fault=st.sampled_from(FAULTS))
    def flush_with_a_fault(self, who: int, fault: str) -> None:
        try:
            self.writers[who].flush(self.is_bad, fault)
        except CrashError:
            self.writers[who] = Writer(self.bronze, self.dead)
            self.writers[who].assign(PARTITIONS)

    @rule(who=st.integers(0, 1), partitions=st.sets(st.sampled_from(sorted(PARTITIONS)), min_size=1))
    def assign(self, who: int, partitions: set[int]) -> None:
        """Also what the other one still believes to have: that one is a zombie from here on."""
        self.writers[who].assign(partitions)

    @rule(partitions=st.sets(st.sampled_from(sorted(PARTITIONS)), min_size=1), giver=st.integers(0, 1))
    def rebalance(self, partitions: set[int], giver: int) -> None:
        self.writers[giver].revoke(partitions)
        self.writers[1 - giver].assign(partitions)

    @rule()
    def upgrade(self) -> None:
        self.is_bad = bad_by_new_rules

    @invariant()
    def nothing_is_doubled_and_positions_tell_the_truth(self) -> None:
        landed = Counter([*self.bronze.rows, *self.dead.rows])
        assert [row for row, count in landed.items() if count > 1] == []
        for p in PARTITIONS:
            done = {o for q, o in landed if q == p}
            assert set(range(self.bronze.positions.get(p, 0))) <= done, "lost: reading will never start there again"

    def teardown(self) -> None:
        last = Writer(self.bronze, self.dead)
        last.assign(PARTITIONS)
        while any(last.reading[p] < len(self.log[p]) for p in PARTITIONS):
            last.read(self.log, 3)
            last.flush(self.is_bad)
        self.nothing_is_doubled_and_positions_tell_the_truth()
        everything = {(p, message.offset) for p in PARTITIONS for message in self.log[p]}
        assert {*self.bronze.rows, *self.dead.rows} == everything
        assert {p: self.bronze.positions.get(p, 0) for p in PARTITIONS} == {p: len(self.log[p]) for p in PARTITIONS}


class TestExactlyOnce(ExactlyOnce.TestCase):  # type: ignore[valid-type,misc]
    settings = h(max_examples=200, stateful_step_count=30, deadline=None)


@pytest.fixture
def world() -> tuple[dict[int, list[Msg]], FakeTable, FakeTable]:
    """Ten messages of which two are bad, and empty tables."""
    return {0: [Msg(n, value=b"bad" if n in (1, 8) else b"good") for n in range(10)]}, FakeTable(), FakeTable()


def land_all(log: dict[int, list[Msg]], writer: Writer, most: int) -> None:
    for _ in range(20):
        writer.read(log, most)
        writer.flush(bad_by_value)


@pytest.mark.parametrize("most", [1, 3, 100])
@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_at_every_place(
    world: tuple[dict[int, list[Msg]], FakeTable, FakeTable], fault: str, most: int
) -> None:
    log, bronze, dead = world
    writer = Writer(bronze, dead)
    writer.assign({0})
    writer.read(log, 100)
    try:
        writer.flush(bad_by_value, fault)
    except CrashError:
        writer = Writer(bronze, dead)
        writer.assign({0})
    land_all(log, writer, most)
    assert sorted(bronze.rows) == [(0, n) for n in range(10) if n not in (1, 8)]
    assert sorted(dead.rows) == [(0, 1), (0, 8)]


def test_a_zombie_can_not_write(world: tuple[dict[int, list[Msg]], FakeTable, FakeTable]) -> None:
    log, bronze, dead = world
    zombie, heir = Writer(bronze, dead), Writer(bronze, dead)
    zombie.assign({0})
    zombie.read(log, 5)
    heir.assign({0})
    land_all(log, heir, 4)
    zombie.flush(bad_by_value)  # it wakes up, is fenced, and starts where the heir has come to
    assert zombie.reading == {0: 10}
    assert zombie.core.buffered == 0
    assert sorted([*bronze.rows, *dead.rows]) == [(0, n) for n in range(10)]
