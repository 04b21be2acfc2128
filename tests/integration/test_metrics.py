"""A writer at work tells what it does: its metrics are compared with what was sent."""

from __future__ import annotations

import json
import signal
import socket
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from playlake import events
from playlake.broker import Producer
from tests.support import Cli, assert_whole, end, parquet_files, wait_for

pytestmark = pytest.mark.timeout(600)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def scrape(port: int) -> Samples:
    """By name without our prefix and labels; empty while nothing answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    except (urllib.error.URLError, OSError):
        return {}
    return {
        (s.name.removeprefix("playlake_writer_"), tuple(sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def by_topic(samples: Samples, name: str, topic: str = events.PLAYS) -> float:
    return sum(value for (n, labels), value in samples.items() if n == name and dict(labels).get("topic") == topic)


def body(number: int) -> bytes:
    fields = {
        "event_id": f"m-{number}",
        "user_id": "u",
        "event_type": "play",
        "track_id": "t",
        "track_name": "n",
        "artist_name": "a",
        "album_name": None,
        "duration_ms": 1,
        "played_at": "2025-01-01T10:00:00Z",
        "device_type": None,
    }
    return json.dumps(fields).encode()


def test_a_running_writer_is_scraped(cli: Cli) -> None:
    port = free_port()
    writer = Cli(cli.home, metrics_port=port, flush_seconds=6, flush_rows=100_000)
    process = writer.start("land")
    wait_for(lambda: by_topic(scrape(port), "lag_messages") == 0 and ("lag_messages", _place(0)) in scrape(port))
    size = 0
    with Producer(cli.settings()) as producer:
        for number in range(500):
            value = b"{bad" if number % 10 == 0 else body(number)
            producer.send(events.PLAYS, f"key-{number % 7}", value)
            size += len(value) + len("key-0")
    # First they are read and wait, and the lake is behind; then they are in it.
    waiting = wait_for(lambda: (s := scrape(port))[("buffered_rows", ())] == 500 and s)
    assert by_topic(waiting, "lag_messages") == 500
    assert by_topic(waiting, "written_rows_total") == 0
    assert wait_for(lambda: scrape(port)[("oldest_unflushed_seconds", ())] > 2)
    landed = wait_for(lambda: (s := scrape(port)) and by_topic(s, "lag_messages") == 0 and s)
    assert landed[("oldest_unflushed_seconds", ())] == 0
    assert by_topic(landed, "consumed_messages_total") == 500
    assert by_topic(landed, "consumed_bytes_total") == size
    assert by_topic(landed, "written_rows_total") == 450
    assert by_topic(landed, "dead_letters_total") == 50
    filesystem, files = parquet_files(cli, "bronze/plays")
    assert by_topic(landed, "written_bytes_total") == sum(filesystem.size(f) for f in files)
    filesystem, files = parquet_files(cli, "bronze/dead_letters")
    assert by_topic(landed, "dead_letter_bytes_total") == sum(filesystem.size(f) for f in files)
    flushes = by_topic(landed, "commit_seconds_count")
    assert flushes >= 1
    assert by_topic(landed, "flush_seconds_count") == 2 * flushes, "decoding and writing"
    assert 0 < by_topic(landed, "commit_seconds_sum") < by_topic(landed, "flush_seconds_sum")
    assert landed[("last_flush_timestamp_seconds", ())] > 1.7e9
    assert by_topic(landed, "conflicts_total") == by_topic(landed, "failures_total") == 0
    assert by_topic(landed, "consumed_messages_total", events.LIKES) == 0

    taken = Cli(cli.home, metrics_port=port)("land", "--until-idle", check=2)
    assert [line for line in taken.err.splitlines() if "METRICS_PORT" in line]
    assert end(process, signal.SIGTERM).code == 0
    assert scrape(port) == {}
    assert_whole(cli)


def _place(partition: int) -> tuple[tuple[str, str], ...]:
    return (("partition", str(partition)), ("topic", events.PLAYS))


def test_a_store_that_is_away_shows(cli: Cli) -> None:
    port = free_port()
    process = Cli(cli.home, metrics_port=port, flush_seconds=5).start("land")
    wait_for(lambda: ("lag_messages", _place(0)) in scrape(port))
    with Producer(cli.settings()) as producer:  # the embedded broker keeps its log in the store, too
        producer.send(events.PLAYS, "k", body(1000))
    wait_for(lambda: scrape(port)[("buffered_rows", ())] == 1)
    cli.kill("store")
    failed = wait_for(lambda: (s := scrape(port)) and by_topic(s, "failures_total") and s, seconds=120)
    assert by_topic(failed, "lag_messages") == 1
    assert failed[("oldest_unflushed_seconds", ())] > 4, "the row was dropped, to be read again: it is no younger"
    cli("up")
    landed = wait_for(lambda: (s := scrape(port)) and by_topic(s, "written_rows_total") == 1 and s, seconds=120)
    assert by_topic(landed, "dead_letters_total") == 0
    assert wait_for(lambda: (s := scrape(port)) and by_topic(s, "lag_messages") == 0 and s)
    assert scrape(port)[("oldest_unflushed_seconds", ())] == 0
    assert end(process, signal.SIGTERM).code == 0
    assert_whole(cli)
