"""The writer's metrics, by the real core."""

from __future__ import annotations

import socket
import urllib.request

import pytest

from playlake import events
from playlake.broker import Polled, TopicPartition
from playlake.errors import UsageError
from playlake.lake.core import Core, Limits, Position
from playlake.lake.landing import Flushed
from playlake.lake.metrics import Metrics
from playlake.records import Run

TOPIC = events.PLAYS


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"playlake_writer_{name}", labels)


def run(*offsets: int, partition: int = 0) -> Run:
    n = len(offsets)
    return Run.of(TOPIC, partition, offsets, [0] * n, [b"key"] * n, [b"12345"] * n)


def test_counts_what_is_read_and_what_is_committed() -> None:
    metrics = Metrics()
    assert value(metrics, "consumed_messages_total", topic=events.LIKES) == 0, "a 0 before the first"
    core = Core(Limits(10, 10, 10**6, 10))
    core.assign({(TOPIC, 0): Position(0, None)})
    read = run(0, 1, 2)
    metrics.polled(Polled([read]))
    core.add([read], 0)
    metrics.flushed(core.take(TOPIC), Flushed(2, 1, "why", {0: 3}, 1000, 300, 0.2, 0.6, 0.4))
    assert value(metrics, "consumed_messages_total", topic=TOPIC) == 3
    assert value(metrics, "consumed_bytes_total", topic=TOPIC) == 24
    assert value(metrics, "written_rows_total", topic=TOPIC) == 2
    assert value(metrics, "written_bytes_total", topic=TOPIC) == 700
    assert value(metrics, "dead_letters_total", topic=TOPIC) == 1
    assert value(metrics, "dead_letter_bytes_total", topic=TOPIC) == 300
    assert value(metrics, "flush_seconds_sum", topic=TOPIC, step="decode") == 0.2
    assert value(metrics, "flush_seconds_sum", topic=TOPIC, step="write") == 0.6
    assert value(metrics, "commit_seconds_sum", topic=TOPIC) == 0.4
    assert value(metrics, "commit_seconds_count", topic=TOPIC) == 1


def test_counts_conflicts_and_failures_apart() -> None:
    metrics = Metrics()
    for kind in ("fenced", "fenced", "failed", "made_anew"):
        metrics.failed(TOPIC, kind)
    metrics.failed("", "failed")
    assert value(metrics, "conflicts_total", topic=TOPIC) == 2
    assert value(metrics, "failures_total", topic=TOPIC, kind="failed") == 1
    assert value(metrics, "failures_total", topic=TOPIC, kind="made_anew") == 1
    assert value(metrics, "failures_total", topic="", kind="failed") == 1


def test_lag_is_from_the_lake_to_the_claimed_end_of_our_partitions_only() -> None:
    metrics = Metrics()
    core = Core(Limits(10, 10, 10**6, 10))
    core.assign({(TOPIC, 0): Position(5, None), (TOPIC, 1): Position(0, None), (TOPIC, 2): Position(0, None)})
    ends = {TopicPartition(TOPIC, 0): 25, TopicPartition(TOPIC, 1): 7}
    mine = set(core.reading())
    metrics.turn(core, mine, ends.get, 0)
    assert value(metrics, "lag_messages", topic=TOPIC, partition="0") == 20
    assert value(metrics, "lag_messages", topic=TOPIC, partition="1") == 7
    assert value(metrics, "lag_messages", topic=TOPIC, partition="2") is None, "the broker has told nothing yet"
    core.add([run(*range(5, 25))], 0)
    metrics.turn(core, mine, ends.get, 2)
    assert value(metrics, "lag_messages", topic=TOPIC, partition="0") == 20, "read is not landed"
    assert value(metrics, "buffered_rows") == 20
    core.done(core.take(TOPIC), {})
    core.forget([(TOPIC, 1), (TOPIC, 0)])  # the one taken away, the other to be looked up anew
    mine.discard((TOPIC, 1))
    metrics.turn(core, mine, ends.get, 2.5)
    assert value(metrics, "lag_messages", topic=TOPIC, partition="0") == 20, "not looked at twice in a second"
    metrics.turn(core, mine, ends.get, 4)
    assert value(metrics, "lag_messages", topic=TOPIC, partition="0") == 20, "the last that was known"
    assert value(metrics, "lag_messages", topic=TOPIC, partition="1") is None, "another's now"
    core.assign({(TOPIC, 0): Position(25, None)})
    metrics.turn(core, mine, ends.get, 6)
    assert value(metrics, "lag_messages", topic=TOPIC, partition="0") == 0


def test_the_oldest_row_ages_until_it_is_committed_also_while_the_loop_stands_still() -> None:
    now = 100.0
    metrics = Metrics(lambda: now)
    core = Core(Limits(10, 10, 10**6, 10))
    core.assign({(TOPIC, 0): Position(0, None)})
    metrics.turn(core, set(core.reading()), lambda _tp: None, now)
    assert value(metrics, "oldest_unflushed_seconds") == 0
    core.add([run(0)], now)
    metrics.turn(core, set(core.reading()), lambda _tp: None, now)
    now = 130.0
    assert value(metrics, "oldest_unflushed_seconds") == 30
    batch = core.take(TOPIC)
    metrics.turn(core, set(core.reading()), lambda _tp: None, now)
    assert value(metrics, "oldest_unflushed_seconds") == 30, "being written is not written"
    core.done(batch, {})
    metrics.turn(core, set(core.reading()), lambda _tp: None, now)
    assert value(metrics, "oldest_unflushed_seconds") == 0


def test_rows_that_a_failure_made_us_drop_keep_their_age() -> None:
    now = 100.0
    metrics = Metrics(lambda: now)
    core = Core(Limits(10, 10, 10**6, 10))
    one = {(TOPIC, 0): Position(0, None)}

    def turn() -> float | None:
        metrics.turn(core, {(TOPIC, 0)}, lambda _tp: 1, now)
        return value(metrics, "oldest_unflushed_seconds")

    def fail() -> None:
        core.add([run(0)], now)
        turn()
        core.ended(core.take(TOPIC))
        metrics.failed(TOPIC, "failed")
        core.forget(one)

    core.assign(one)
    fail()
    now = 150.0
    assert turn() == 50, "nothing is buffered, and nothing is safe"
    core.assign(one)
    assert turn() == 50
    fail()
    now = 160.0
    assert turn() == 60, "of the first time"
    core.assign(one)
    core.add([run(0)], now)
    batch = core.take(TOPIC)
    core.done(batch, {})
    metrics.flushed(batch, Flushed(1, 0, "", {}, 1, 0, 0.1, 0.1, 0.1))
    assert turn() == 0
    # A commit that was said to have failed and had not: nothing is read again.
    core.mark_behind([(TOPIC, 0)])
    core.add([run(1)], now)
    turn()
    core.ended(core.take(TOPIC))
    metrics.failed(TOPIC, "failed")
    core.forget(one)
    now = 170.0
    assert turn() == 10
    core.assign({(TOPIC, 0): Position(2, None)})
    assert turn() == 10, "is there anything? not known yet"
    core.reached_end([((TOPIC, 0), 2)])
    assert turn() == 0


def test_served_over_http_and_a_taken_port_is_told() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    Metrics().serve("127.0.0.1", port)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert 'playlake_writer_written_rows_total{topic="user_plays"} 0.0' in text
    assert "process_resident_memory_bytes" in text
    with pytest.raises(UsageError, match=rf"127.0.0.1:{port} .*METRICS_PORT"):
        Metrics().serve("127.0.0.1", port)
