"""Whatever dies, freezes, is replaced or gets no answer: in the end every offset is in the lake exactly once.

The writer's core and the order of its commits are the real ones (``playlake.lake.core``, ``playlake.lake.deliver``).
Around them is a world of three writers, a log that expires and is made anew, and tables that promise what Delta's do:
a commit is put if absent, and one whose application transactions another has touched since is refused. Hypothesis
draws what happens when. The same world finds what is wrong with a writer that names its files by their first offset.

``MODEL_SCHEDULES`` sets how many schedules are drawn (``make model``: a hundred thousand, with progress and a count of
what happened in them).
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as h
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from playlake.lake.core import Batch, Core, Limits, Partition, Position
from playlake.lake.deliver import FencedError, app_id, deliver, gaps_passed, locate, pass_gap, record_gap
from playlake.records import Run

SCHEDULES = int(os.environ.get("MODEL_SCHEDULES", "1000"))
EVERY = 1000
"""Schedules after which the progress is told."""
TOPIC = "user_plays"
PARTITIONS = (0, 1)
WRITERS = (0, 1, 2)
LAZY = Limits(rows=10**9, catchup_rows=10**9, bytes=10**9, seconds=10**9)


class LostError(Exception):
    """The store did not answer: the commit may or may not have happened."""


class CrashError(Exception):
    """The process is gone."""


class MadeAnewError(Exception):
    """The topic is another one now."""


@dataclass(frozen=True, slots=True)
class Row:
    """A message as it landed."""

    topic_id: str
    partition: int
    offset: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Dead:
    """A message that can't be an event."""

    partition: int
    offset: int
    value: bytes


NO_ROWS: list[Row] = []


@dataclass
class FakeTable:
    """A Delta table: a log of commits, each with rows and application transactions, put if absent."""

    commits: list[tuple[dict[str, int], list[Row]]] = field(default_factory=list)

    @property
    def rows(self) -> list[Row]:
        return [row for _, rows in self.commits for row in rows]

    def positions(self, version: int) -> dict[str, int]:
        found: dict[str, int] = {}
        for moved, _ in self.commits[:version]:
            found |= moved
        return found


@dataclass
class Handle:
    """One writer's view of a table: as of the version last seen, as ``playlake.lake.table.Table`` has it."""

    table: FakeTable
    around: Callable[[str], None] = lambda _when: None
    """Called before a commit, when all is checked and the files are written, and after it, and after each look."""
    version: int = 0

    def refresh(self) -> None:
        self.version = len(self.table.commits)
        self.around("seen")

    def position(self, app: str) -> int | None:
        return self.table.positions(self.version).get(app)

    def offsets_from(self, topic_id: str, partition: int, start: int) -> frozenset[int]:
        self.refresh()
        mine = (r for _, rows in self.table.commits[: self.version] for r in rows)
        return frozenset(
            r.offset for r in mine if (r.topic_id, r.partition) == (topic_id, partition) and r.offset >= start
        )

    def _still(self, expected: Mapping[str, int | None]) -> None:
        for app, position in expected.items():
            if self.position(app) != position:
                raise FencedError(app)

    def append(self, rows: list[Row], expected: Mapping[str, int | None], following: Mapping[str, int]) -> int:
        self.refresh()
        self._still(expected)
        self.around("before")
        self.version = len(self.table.commits)  # who is not first at the next version looks again
        self._still(expected)
        before = self.table.positions(len(self.table.commits))
        assert all(v >= before.get(app, 0) for app, v in following.items()), "a position never goes back"
        self.table.commits.append((dict(following), rows))
        self.around("after")
        self.refresh()
        return self.version


@dataclass
class World:
    """The log, as it is now and as it was, and the tables."""

    topic_id: str = "1"
    logs: dict[str, dict[int, dict[int, bytes]]] = field(default_factory=lambda: {"1": {p: {} for p in PARTITIONS}})
    """By topic id and partition, every message ever acknowledged, by offset."""
    ends: dict[int, int] = field(default_factory=lambda: dict.fromkeys(PARTITIONS, 0))
    starts: dict[int, int] = field(default_factory=lambda: dict.fromkeys(PARTITIONS, 0))
    bronze: FakeTable = field(default_factory=FakeTable)
    dead: FakeTable = field(default_factory=FakeTable)
    gaps: FakeTable = field(default_factory=FakeTable)
    files: dict[tuple[str, int, int], list[Row]] = field(default_factory=dict)
    """Of the wrong writer: by topic id, partition and first offset."""
    committed: dict[tuple[str, int], int] = field(default_factory=dict)
    """Kafka's own offsets, which the wrong writer trusts."""
    fenced: int = 0
    """How often a writer met another's commit."""

    def produce(self, partition: int, bad: list[bool], skip: int) -> None:
        log = self.logs[self.topic_id][partition]
        for is_bad in bad:
            at = self.ends[partition]
            log[at] = f"{'bad' if is_bad else 'good'} {self.topic_id}/{partition}/{at}".encode()
            self.ends[partition] = at + 1
        self.ends[partition] += skip  # as transaction markers and compaction leave offsets out

    def read(self, partition: int, start: int, most: int) -> Run:
        """What a consumer is given from an offset on."""
        log = self.logs[self.topic_id][partition]
        found = [o for o in sorted(log) if o >= max(start, self.starts[partition])][:most]
        n = len(found)
        return Run.of(TOPIC, partition, found, [0] * n, [None] * n, [log[o] for o in found])


class Writer:
    """The shell around the core, with its two threads: what is under way goes on beside everything else.

    The same steps as ``playlake.lake.writer`` and ``playlake.lake.landing``.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.core = Core(LAZY)
        self.topic_id = world.topic_id
        self.bronze, self.dead, self.gaps = (Handle(t) for t in (world.bronze, world.dead, world.gaps))
        self.mine: set[Partition] = set()
        self.unplaced: set[Partition] = set()
        self.batch: Batch | None = None
        self.located: dict[Partition, Any] | None = None
        self.nowhere: set[Partition] = set()
        self.otherwise: int | None = None
        """Of which offsets, modulo 3, this one takes for an event what others do not, and the other way round."""

    def is_bad(self, value: bytes, offset: int) -> bool:
        return value.startswith(b"bad") is not (offset % 3 == self.otherwise)

    def assign(self, partitions: set[int]) -> None:
        self.mine |= {(TOPIC, p) for p in partitions}
        self.unplaced |= {(TOPIC, p) for p in partitions}
        self.core.forget((TOPIC, p) for p in partitions)

    def revoke(self, partitions: set[int]) -> None:
        gone = {(TOPIC, p) for p in partitions}
        self.core.forget(gone)
        self.mine -= gone
        self.unplaced -= gone

    def read(self, most: int) -> None:
        for (_, p), start in self.core.reading().items():
            if start < self.world.starts[p]:
                self.displace({(TOPIC, p)})
                self.nowhere.add((TOPIC, p))
            else:
                self.core.add([self.world.read(p, start, most)], 0)

    def displace(self, partitions: set[Partition]) -> None:
        self.core.forget(partitions)
        self.unplaced |= partitions & self.mine

    def check(self) -> None:
        if self.topic_id != self.world.topic_id:
            self.topic_id = self.world.topic_id
            raise MadeAnewError

    def locate(
        self,
        around: Callable[[str, str], None] = lambda _table, _when: None,
        around_gap: Callable[[str], None] = lambda _when: None,
    ) -> None:
        """Ask the tables, and pass over what the log has no more; the answer is taken in later."""
        self.bronze.around = lambda when: around("bronze", when)
        self.dead.around = lambda when: around("dead", when)
        self.gaps.around = around_gap
        if self.batch or self.located or not self.unplaced:
            return
        wanted = set(self.unplaced)
        begins = {p: self.world.starts[p[1]] for p in wanted & self.nowhere}
        try:
            self.check()
            found = self.look(wanted)
            for partition, start in begins.items():
                if start > found[partition].bronze:
                    pass_gap(partition, self.topic_id, found[partition].bronze, start, self.bronze, [])
            self.located = found | self.look(set(begins))
        except MadeAnewError:
            self.nowhere.clear()  # of the topic that was
            self.displace(set(self.mine))
        except (FencedError, LostError) as error:
            self.world.fenced += isinstance(error, FencedError)
            return

    def look(self, wanted: set[Partition]) -> dict[Partition, Any]:
        found = locate(wanted, {TOPIC: self.topic_id}, {TOPIC: self.bronze}, self.dead, NO_ROWS, lambda _topic: NO_ROWS)
        for partition in wanted:
            record_gap(partition, self.topic_id, self.bronze, self.gaps, partial(self._gap, partition[1]))
        return found

    def _gap(self, partition: int, first: int, end: int) -> list[Row]:
        return [Row(self.topic_id, partition, offset, b"") for offset in range(first, end)]

    def place(self) -> None:
        if self.located is None:
            return
        found, self.located = self.located, None
        mine = {p: at for p, at in found.items() if p in self.unplaced}
        self.core.assign(mine)
        self.unplaced -= mine.keys()
        self.nowhere -= found.keys()

    def take(self) -> None:
        if self.batch is None and self.located is None and self.core.waiting():
            self.batch = self.core.take(TOPIC)

    def commit(self, around: Callable[[str, str], None] = lambda _table, _when: None) -> None:
        """What was taken is decoded, and committed; faults come from ``around``."""
        if self.batch is None:
            return
        batch, self.batch = self.batch, None
        every = [(r.partition, o, v or b"") for r in batch.runs for o, _, _, v in r.messages()]
        dead = [Dead(*m) for m in every if self.is_bad(m[2], m[1])]
        topic_id = self.topic_id
        try:
            self.check()
            self.bronze.around = lambda when: around("bronze", when)
            self.dead.around = lambda when: around("dead", when)
            good = [m for m in every if not self.is_bad(m[2], m[1]) and not batch.already_dead(m[0], m[1])]
            delivered = deliver(
                batch,
                topic_id,
                dead,
                self.bronze,
                self.dead,
                bronze_rows=lambda: [Row(topic_id, *m) for m in good],
                dead_rows=lambda found: [Row(topic_id, d.partition, d.offset, d.value) for d in found],
                no_rows=NO_ROWS,
            )
        except (FencedError, LostError, MadeAnewError) as error:
            self.core.ended(batch)
            self.world.fenced += isinstance(error, FencedError)
            if isinstance(error, MadeAnewError):
                self.nowhere.clear()
            self.displace(set(self.mine))
        else:
            self.core.done(batch, delivered.buried)


class ByFirstOffset(Writer):
    """Wrong: a file is named by its first offset and overwritten, and Kafka's committed offset is where to go on."""

    def locate(
        self,
        around: Callable[[str, str], None] = lambda _table, _when: None,
        around_gap: Callable[[str], None] = lambda _when: None,
    ) -> None:
        if self.batch is None and self.unplaced:
            self.topic_id = self.world.topic_id
            committed = {p: self.world.committed.get((self.topic_id, p[1]), 0) for p in self.unplaced}
            self.located = {p: Position(at, None) for p, at in committed.items()}

    def commit(self, around: Callable[[str, str], None] = lambda _table, _when: None) -> None:
        if self.batch is None:
            return
        batch, self.batch = self.batch, None
        for p in batch.following:
            rows = [
                Row(self.topic_id, p, o, v or b"")
                for r in batch.runs
                if r.partition == p
                for o, _, _, v in r.messages()
            ]
            try:
                around("bronze", "before")
                self.world.files[self.topic_id, p, rows[0].offset] = rows
                around("bronze", "after")
            except LostError:
                self.core.ended(batch)
                self.displace(set(self.mine))
                return
            self.world.committed[self.topic_id, p] = batch.following[p]
        self.core.done(batch, {})


FAULTS = [
    (kind, table, when)
    for kind in (CrashError, LostError)
    for table in ("dead", "bronze")
    for when in ("before", "after")
]
some = st.lists(st.booleans(), min_size=1, max_size=4)
"""Messages, and whether each is bad."""
nths = st.integers(1, 2)
"""A flush with dead letters commits to bronze twice: it counts the burial, and then adds the rows."""
some_partitions = st.sets(st.sampled_from(PARTITIONS), min_size=1)
who = st.sampled_from(WRITERS)
HAPPENS = (
    *("crashes", "zombies", "rebalances", "fenced", "expiries", "topics made anew", "judged otherwise", "rows landed"),
    *("faults of a commit", "commits across another's", "faults of a look", "burials", "burials ended by another"),
)
"""What must have happened in many schedules; else they prove less than they say."""


class Everything(RuleBasedStateMachine):
    """Three writers, of which each thinks at times that it is alone, and everything that can go wrong."""

    Kind: ClassVar[type[Writer]] = Writer
    happened: ClassVar[Counter[str]] = Counter()
    """How often, in all schedules."""
    asked: ClassVar[frozenset[str]] = frozenset({"lost", "doubled"})
    """What is looked for."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.writers = [self.Kind(self.world) for _ in WRITERS]

    @initialize(bad=st.lists(st.booleans(), min_size=3, max_size=8))
    def start(self, bad: list[bool]) -> None:
        self.world.produce(0, bad, 0)
        self.writers[0].assign(set(PARTITIONS))
        self.writers[0].locate()
        self.writers[0].place()

    @rule(
        partition=st.sampled_from(PARTITIONS),
        bad=st.lists(st.booleans(), min_size=1, max_size=6),
        skip=st.sampled_from((0, 0, 1, 3)),
    )
    def produce(self, partition: int, bad: list[bool], skip: int) -> None:
        self.world.produce(partition, bad, skip)

    @rule(who=who, most=st.integers(1, 7))
    def read(self, who: int, most: int) -> None:
        self.writers[who].read(most)

    @rule(who=who)
    def take(self, who: int) -> None:
        self.writers[who].take()

    @rule(who=who)
    def commit(self, who: int) -> None:
        self.writers[who].commit()

    @rule(who=who, most=st.integers(1, 7))
    def go_on(self, who: int, most: int) -> None:
        """All that a healthy writer does in a turn."""
        writer = self.writers[who]
        writer.locate()
        writer.place()
        writer.read(most)
        writer.take()
        writer.commit()

    @rule(who=who, most=st.integers(1, 7), bad=some)
    def begin(self, who: int, most: int, bad: list[bool]) -> None:
        """All of a turn but its end: a batch is under way, as long as it likes. There is something to read."""
        writer = self.writers[who]
        if not writer.mine:
            self.assign(who, set(PARTITIONS))
        writer.locate()
        writer.place()
        mine = sorted(p for _, p in writer.mine)
        self.world.produce(mine[len(bad) % len(mine)], bad, 0)
        writer.read(most)
        writer.take()

    @rule(who=who, fault=st.sampled_from(FAULTS), nth=nths, most=st.integers(1, 7), bad=some)
    def commit_with_a_fault(
        self, who: int, fault: tuple[type[Exception], str, str], nth: int, most: int, bad: list[bool]
    ) -> None:
        error, table, when = fault
        if self.writers[who].batch is None:
            self.begin(who, most, bad)
        times: list[str] = []

        def around(at: str, then: str) -> None:
            if (at, then) == (table, when):
                times.append(at)
                if len(times) == nth:
                    self.happened["faults of a commit"] += 1
                    raise error

        try:
            self.writers[who].commit(around)
        except CrashError:
            self.happened["crashes"] += 1
            self.crash(who)

    @rule(who=who, other=who, nth=st.integers(1, 3), only_looks=st.booleans(), most=st.integers(1, 7), bad=some)
    def commit_across_another(
        self, who: int, other: int, nth: int, only_looks: bool, most: int, bad: list[bool]
    ) -> None:
        """Another does a turn, or a look, between this one's look at a table and its commit: to count a burial, to
        bury, or to land.
        """
        if who == other:
            return
        if self.writers[who].batch is None:
            self.begin(who, most, bad)
        seen: list[str] = []

        def around(_table: str, when: str) -> None:
            if when == "before":
                seen.append(when)
                if len(seen) == nth:
                    self.happened["commits across another's"] += 1
                    if only_looks:
                        self.writers[other].locate()
                    else:
                        self.go_on(other, most)

        self.writers[who].commit(around)

    @rule(who=who, other=who, most=st.integers(1, 7), table=st.sampled_from(("bronze", "dead")))
    def locate_across_another(self, who: int, other: int, most: int, table: str) -> None:
        """Another does a whole turn between this one's looks at the tables."""
        if who == other:
            return
        done: list[str] = []

        def around(at: str, when: str) -> None:
            if (at, when) == (table, "seen") and not done:
                done.append(when)
                self.go_on(other, most)

        self.writers[who].locate(around)

    @rule(who=who)
    def crash(self, who: int) -> None:
        """Gone with all it held; the one that comes instead takes what it had."""
        it = self.writers[who]
        self.happened["crashes"] += bool(it.batch or it.core.buffered or it.located)
        had = {p for _, p in it.mine}
        self.writers[who] = self.Kind(self.world)
        self.writers[who].assign(had)

    @rule(who=who)
    def locate(self, who: int) -> None:
        self.writers[who].locate()

    @rule(who=who)
    def place(self, who: int) -> None:
        self.writers[who].place()

    @rule(who=who, partitions=some_partitions)
    def assign(self, who: int, partitions: set[int]) -> None:
        """Also what another still believes to have: that one is a zombie from here on."""
        others = [w for n, w in enumerate(self.writers) if n != who]
        self.happened["zombies"] += any((TOPIC, p) in w.mine for w in others for p in partitions)
        self.writers[who].assign(partitions)

    @rule(partitions=some_partitions, giver=who, taker=who)
    def rebalance(self, partitions: set[int], giver: int, taker: int) -> None:
        had = any((TOPIC, p) in self.writers[giver].mine for p in partitions)
        self.happened["rebalances"] += had and giver != taker
        self.writers[giver].revoke(partitions)
        self.writers[taker].assign(partitions)

    def landed(self) -> list[tuple[str, int, int]]:
        """Topic id, partition and offset of each row, in bronze or dead letters."""
        return [(r.topic_id, r.partition, r.offset) for r in [*self.world.bronze.rows, *self.world.dead.rows]]

    def passed(self, topic_id: str, partition: int) -> int:
        """The next offset that would be read."""
        world = self.world
        return world.bronze.positions(len(world.bronze.commits)).get(app_id(TOPIC, topic_id, partition), 0)

    def gone(self) -> set[tuple[str, int, int]]:
        """What is said to have been deleted before it was landed."""
        world = self.world
        found = {(r.topic_id, r.partition, r.offset) for r in world.gaps.rows}
        positions = world.bronze.positions(len(world.bronze.commits))
        for topic_id, p, first, end in gaps_passed(positions, TOPIC):  # to be recorded by whoever comes next
            found |= {(topic_id, p, offset) for offset in range(first, end)}
        return found

    def broken(self) -> list[str]:
        """What is wrong with the tables as they are, of what is looked for."""
        world = self.world
        landed, gone = Counter(self.landed()), self.gone()
        found = [f"doubled {at}" for at, n in landed.items() if n > 1]
        for topic_id, logs in world.logs.items():
            for p, log in logs.items():
                passed = self.passed(topic_id, p)
                places = [(topic_id, p, o) for o in log if o < passed]
                found += [f"lost {at}" for at in places if at not in landed and at not in gone]
                if topic_id == world.topic_id:
                    there = [(topic_id, p, o) for o in log if o >= world.starts[p]]
                    found += [f"lost {at}: said to be gone, and in the log" for at in there if at in gone]
        return [what for what in found if what.split()[0] in self.asked]

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert self.broken() == []

    def finish(self) -> Writer:
        last = self.Kind(self.world)
        last.assign(set(PARTITIONS))
        for _ in range(60):
            last.locate()
            last.place()
            last.read(3)
            last.take()
            last.commit()
        return last

    def teardown(self) -> None:
        last = self.finish()
        assert self.broken() == []
        world = self.world
        landed = {(r.topic_id, r.partition, r.offset): r.value for r in [*world.bronze.rows, *world.dead.rows]}
        for (topic_id, p, offset), value in landed.items():
            assert world.logs[topic_id][p].get(offset) == value, "landed under another's name"
        assert len(world.gaps.rows) == len(set(world.gaps.rows)), "a gap is recorded once"
        gone = {(r.topic_id, r.partition, r.offset) for r in world.gaps.rows}
        # Dead letters may be ahead of bronze: of what expired in between they have some.
        assert not gone & {(r.topic_id, r.partition, r.offset) for r in world.bronze.rows}, (
            "said to be lost, and landed"
        )
        now = {(world.topic_id, p, o) for p in PARTITIONS for o in world.logs[world.topic_id][p]}
        assert now <= landed.keys() | gone
        assert last.core.reading().keys() == {(TOPIC, p) for p in PARTITIONS}


class ExactlyOnce(Everything):
    """What only ours is asked to withstand."""

    def teardown(self) -> None:
        super().teardown()
        world = self.world
        self.happened["schedules"] += 1
        self.happened["fenced"] += world.fenced
        self.happened["burials"] += sum(bool(rows) for _, rows in world.dead.commits)
        self.happened["burials ended by another"] += sum(not rows for _, rows in world.dead.commits)
        self.happened["rows landed"] += len(world.bronze.rows)
        if (count := self.happened["schedules"]) % EVERY == 0:
            print(f"{count:,} of {SCHEDULES:,} schedules, 0 lost, 0 doubled", file=sys.stderr, flush=True)
        if count == SCHEDULES:
            what = ", ".join(f"{n:,} {name}" for name, n in sorted(self.happened.items()))
            print(f"0 lost, 0 doubled in all: {what}", file=sys.stderr, flush=True)
            assert SCHEDULES < EVERY or set(HAPPENS) <= {name for name, n in self.happened.items() if n}, what

    @rule(who=who, offsets=st.sampled_from((None, 0, 1, 2)))
    def judge_otherwise(self, who: int, offsets: int | None) -> None:
        """What was an event is none and the other way round: it has learnt of a column, or is of another release."""
        self.happened["judged otherwise"] += 1
        self.writers[who].otherwise = offsets

    @rule(
        who=who,
        error=st.sampled_from((CrashError, LostError)),
        table=st.sampled_from(("bronze", "dead", "gaps")),
        when=st.sampled_from(("before", "after")),
    )
    def locate_with_a_fault(self, who: int, error: type[Exception], table: str, when: str) -> None:
        """Where a gap is passed, or another's burial ended, these are commits."""

        def around(at: str, then: str) -> None:
            if (at, then) == (table, when):
                self.happened["faults of a look"] += 1
                raise error

        try:
            self.writers[who].locate(around, partial(around, "gaps"))
        except CrashError:
            self.crash(who)

    @rule(partition=st.sampled_from(PARTITIONS), count=st.integers(1, 4))
    def expire(self, partition: int, count: int) -> None:
        """Retention deletes the oldest messages, landed or not."""
        world = self.world
        self.happened["expiries"] += 1
        world.starts[partition] = min(world.starts[partition] + count, world.ends[partition])

    @precondition(lambda self: len(self.world.logs) < 3)
    @rule(bad=st.lists(st.booleans(), max_size=12))
    def make_anew(self, bad: list[bool]) -> None:
        """The topic is deleted and made anew: same offsets, other messages."""
        self.happened["topics made anew"] += 1
        world = self.world
        world.topic_id = str(len(world.logs) + 1)
        world.logs[world.topic_id] = {p: {} for p in PARTITIONS}
        world.ends = dict.fromkeys(PARTITIONS, 0)
        world.starts = dict.fromkeys(PARTITIONS, 0)
        world.produce(0, bad, 0)


TestExactlyOnce = ExactlyOnce.TestCase
TestExactlyOnce.settings = h(
    max_examples=SCHEDULES,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    database=None,
)


class WrongLoses(Everything):
    """The wrong writer, asked for losses only."""

    Kind = ByFirstOffset
    asked = frozenset({"lost"})

    def landed(self) -> list[tuple[str, int, int]]:
        return [(r.topic_id, r.partition, r.offset) for rows in self.world.files.values() for r in rows]

    def passed(self, topic_id: str, partition: int) -> int:
        return self.world.committed.get((topic_id, partition), 0)

    def teardown(self) -> None:
        self.finish()
        assert self.broken() == []


class WrongDoubles(WrongLoses):
    """The wrong writer, asked for doubles only."""

    asked = frozenset({"doubled"})


@pytest.mark.parametrize(("machine", "word"), [(WrongLoses, "lost"), (WrongDoubles, "doubled")])
def test_the_same_world_finds_what_is_wrong_with_another_writer(machine: type[Everything], word: str) -> None:
    with pytest.raises(AssertionError, match=word):
        run_state_machine_as_test(
            machine,
            settings=h(
                max_examples=30_000,
                stateful_step_count=40,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                print_blob=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
