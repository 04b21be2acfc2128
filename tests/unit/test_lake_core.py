"""The writer's core: what it keeps, when it flushes, and what a batch says of itself."""

from __future__ import annotations

from playlake.lake.core import Batch, Core, Limits, Position
from playlake.records import Run

TOPIC = "user_plays"
LAZY = Limits(rows=10**9, catchup_rows=10**9, bytes=10**9, seconds=10**9)


def run(*offsets: int, partition: int = 0, topic: str = TOPIC, key: bytes | None = None, value: bytes = b"v") -> Run:
    """Messages at these offsets, all alike."""
    n = len(offsets)
    return Run.of(topic, partition, list(offsets), [0] * n, [key] * n, [value] * n)


def offsets(batch: Batch) -> list[int]:
    return [offset for one in batch.runs for offset in one.offsets.tolist()]


def at(bronze: int, dead: int | None = None, burials: int | None = None) -> Position:
    return Position(bronze, dead, burials=burials)


def assigned(limits: Limits = LAZY, **positions: int) -> Core:
    core = Core(limits)
    core.assign({(TOPIC, int(name[1:])): at(bronze) for name, bronze in positions.items()} or {(TOPIC, 0): at(0)})
    return core


# -- buffering and positions --------------------------------------------------------------------------------------


def test_reading_starts_at_bronze_whatever_dead_letters_say() -> None:
    core = Core(LAZY)
    assert core.assign({(TOPIC, 0): at(7, dead=20), (TOPIC, 1): at(0)}) == {(TOPIC, 0): 7, (TOPIC, 1): 0}
    assert set(core.reading()) == {(TOPIC, 0), (TOPIC, 1)}


def test_a_batch_says_where_it_begins_and_ends() -> None:
    core = assigned(p0=5, p1=9)
    core.add([run(5, 6), run(9, 12, partition=1)], 0)  # 10 and 11 were compacted away
    batch = core.take(TOPIC)
    assert batch.expected == {0: at(5), 1: at(9)}
    assert batch.following == {0: 7, 1: 13}
    assert offsets(batch) == [5, 6, 9, 12]
    assert (core.buffered, core.waiting()) == (0, [])


def test_a_batch_names_only_the_partitions_it_has_rows_of() -> None:
    core = assigned(p0=0, p1=0)
    core.add([run(0)], 0)
    assert core.take(TOPIC).following == {0: 1}


def test_offsets_that_the_lake_has_are_dropped() -> None:
    core = assigned(p0=5)
    core.add([run(3, 4, 5, 5, 6, 4)], 0)
    assert offsets(core.take(TOPIC)) == [5, 6]


def test_messages_of_other_partitions_are_dropped() -> None:
    core = assigned(p0=0)
    core.add([run(0, partition=1), run(0, topic="user_skips")], 0)
    assert core.buffered == 0


def test_the_next_batch_follows_the_one_that_is_done() -> None:
    core = assigned(p0=0)
    core.add([run(0, 1)], 0)
    first = core.take(TOPIC)
    core.add([run(2)], 0)  # read while the first was being written
    core.done(first, {0: 2})
    second = core.take(TOPIC)
    assert (second.expected, second.following) == ({0: at(2, dead=2, burials=1)}, {0: 3})
    core.done(second, {})
    core.add([run(3)], 0)
    assert core.take(TOPIC).expected == {0: at(3, dead=2, burials=1)}  # dead letters stay where they are without dead


def test_forgotten_partitions_take_their_rows_along() -> None:
    core = assigned(p0=0, p1=0)
    core.add([run(0, 1), run(0, 1, 2, partition=1)], 0)
    core.forget([(TOPIC, 1)])
    assert set(core.reading()) == {(TOPIC, 0)}
    assert core.take(TOPIC).following == {0: 2}
    core.add([run(3, partition=1)], 0)
    assert core.buffered == 0


def test_a_batch_done_after_its_partition_was_lost_changes_nothing() -> None:
    core = assigned(p0=0)
    core.add([run(0)], 0)
    batch = core.take(TOPIC)
    core.forget([(TOPIC, 0)])
    core.done(batch, {})
    assert set(core.reading()) == set()


def test_assigned_again_reading_starts_again() -> None:
    core = assigned(p0=0)
    core.add([run(0, 1, 2)], 0)
    assert core.assign({(TOPIC, 0): at(1)}) == {(TOPIC, 0): 1}
    core.add([run(0, 1)], 0)
    batch = core.take(TOPIC)
    assert (offsets(batch), batch.expected) == ([1], {0: at(1)})


def test_dead_letters_from_before_a_crash_are_not_buried_again() -> None:
    core = Core(LAZY)
    core.assign({(TOPIC, 0): Position(0, 10, frozenset({1, 8}))})
    core.add([run(0, 1, 2)], 0)
    batch = core.take(TOPIC)
    assert [batch.already_dead(0, offset) for offset in offsets(batch)] == [False, True, False]


def test_dead_letters_from_before_a_crash_are_known_beyond_the_first_flush() -> None:
    core = Core(LAZY)
    core.assign({(TOPIC, 0): Position(0, 10, frozenset({1, 8}))})
    core.add([run(0, 1, 2)], 0)
    core.done(core.take(TOPIC), {})
    core.add([run(*range(3, 10))], 0)
    batch = core.take(TOPIC)
    assert [offset for offset in offsets(batch) if batch.already_dead(0, offset)] == [8]


# -- when to flush ------------------------------------------------------------------------------------------------


def test_flushed_by_rows_and_later_while_behind() -> None:
    core = assigned(Limits(rows=2, catchup_rows=5, bytes=10**9, seconds=10**9))
    core.add([run(0, 1, 2, 3)], 0)
    assert core.due(0) == []
    core.reached_end([((TOPIC, 0), 5)])
    assert core.due(0) == []  # not there yet
    core.reached_end([((TOPIC, 0), 4)])
    assert core.due(0) == [TOPIC]
    core.mark_behind([(TOPIC, 0)])
    assert core.due(0) == []
    core.add([run(4)], 0)
    assert core.due(0) == [TOPIC]  # as many as even catching up waits for


def test_what_comes_as_fast_as_it_is_read_does_not_wait_for_the_rows_of_catching_up() -> None:
    core = assigned(Limits(rows=2, catchup_rows=5, bytes=10**9, seconds=10**9))
    core.add([run(0)], 0)
    assert core.due(9) == [], "fewer than a flush is to have"
    core.add([run(1)], 9)
    core.ended(core.take(TOPIC))
    core.add([run(2, 3)], 10)
    assert core.due(10.9) == []
    assert core.due(11) == [TOPIC]


def test_flushed_by_age_of_the_oldest_row() -> None:
    core = assigned(Limits(rows=10**9, catchup_rows=10**9, bytes=10**9, seconds=60))
    core.add([run(0)], 100)
    core.add([run(1)], 150)
    assert core.due(159.9) == []
    assert core.due(160) == [TOPIC]
    core.ended(core.take(TOPIC))
    core.add([run(2)], 170)
    assert core.due(229.9) == []
    assert core.due(230) == [TOPIC]


def test_flushed_by_bytes_of_keys_and_values() -> None:
    core = assigned(Limits(rows=10**9, catchup_rows=10**9, bytes=10, seconds=10**9))
    core.add([run(0, key=b"1234", value=b"5678")], 0)
    core.add([run(1, value=b"")], 0)
    assert core.due(0) == []
    core.add([run(2, key=b"9", value=b"0")], 0)
    assert core.due(0) == [TOPIC]


def test_bytes_of_lost_partitions_do_not_count() -> None:
    core = assigned(Limits(rows=10**9, catchup_rows=10**9, bytes=10, seconds=10**9), p0=0, p1=0)
    core.add([run(0, value=b"123456"), run(0, partition=1, value=b"123456")], 0)
    assert core.due(0) == [TOPIC]
    core.forget([(TOPIC, 1)])
    assert core.due(0) == []


def test_topics_are_flushed_by_themselves() -> None:
    core = Core(Limits(rows=1, catchup_rows=1, bytes=10**9, seconds=10**9))
    core.assign({("user_plays", 0): at(0), ("user_skips", 0): at(0)})
    core.add([run(0, topic="user_skips")], 0)
    assert core.due(0) == core.waiting() == ["user_skips"]


def test_at_the_end_when_every_partition_is() -> None:
    core = assigned(p0=0, p1=3)
    assert not core.at_end()
    core.reached_end([((TOPIC, 1), 3), ((TOPIC, 9), 0)])
    assert not core.at_end()
    core.forget([(TOPIC, 0)])
    assert core.at_end()
    core.mark_behind([(TOPIC, 5)])  # none of ours
    assert core.at_end()
    core.mark_behind([(TOPIC, 1)])
    assert not core.at_end()


# -- a batch under way ---------------------------------------------------------------------------------------------


def test_a_topic_has_one_batch_under_way() -> None:
    core = assigned(Limits(rows=1, catchup_rows=1, bytes=10**9, seconds=0))
    core.add([run(0)], 0)
    first = core.take(TOPIC)
    core.add([run(1)], 0)
    assert (core.due(9), core.waiting(), core.full()) == ([], [], True)
    core.done(first, {})
    assert core.due(9) == core.waiting() == [TOPIC]


def test_a_batch_of_an_earlier_term_changes_nothing_in_this_one() -> None:
    """Given away and taken back while the batch was under way: reading began at a position from before its commit."""
    core = assigned(p0=0)
    core.add([run(0, 1)], 0)
    batch = core.take(TOPIC)
    core.forget([(TOPIC, 0)])
    core.assign({(TOPIC, 0): at(0)})
    core.add([run(0, 1, 2)], 0)
    core.done(batch, {})
    assert core.take(TOPIC).expected == {0: at(0)}  # which the table will refuse, and reading starts again


def test_the_topic_that_has_waited_longest_is_flushed_first() -> None:
    core = Core(Limits(rows=1, catchup_rows=1, bytes=10**9, seconds=10**9))
    core.assign({("user_plays", 0): at(0), ("user_skips", 0): at(0)})
    core.add([run(0, topic="user_skips")], 1)
    core.add([run(0, topic="user_plays")], 2)
    assert core.due(3) == ["user_skips", "user_plays"]
    assert core.since() == {"user_skips": 1, "user_plays": 2}
    core.take("user_skips")
    core.add([run(1, topic="user_skips")], 5)
    assert core.since() == {"user_skips": 1, "user_plays": 2}, "under way is not written"
