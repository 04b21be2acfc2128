"""A writer at work tells what it does: its metrics are compared with what was sent."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from playlake import events
from playlake.broker import Producer
from tests.support.commands import Cli, end
from tests.support.lakes import assert_whole, parquet_files
from tests.support.messages import play
from tests.support.scraping import Samples, free_port, scrape
from tests.support.waiting import wait_for


def by_topic(samples: Samples, name: str, topic: str = events.PLAYS) -> float:
    return sum(value for (n, labels), value in samples.items() if n == name and dict(labels).get("topic") == topic)


def test_a_running_writer_is_scraped(own: Cli) -> None:
    port = free_port()
    writer = own.with_settings(metrics_port=port, flush_seconds=3600, flush_rows=600)
    process = writer.start("land")
    wait_for(lambda: by_topic(scrape(port), "lag_messages") == 0 and ("lag_messages", _place(0)) in scrape(port))
    size = 0

    def send(numbers: range) -> None:
        nonlocal size
        with Producer(own.settings()) as producer:
            for number in numbers:
                value = b"{bad" if number % 10 == 0 else json.dumps(play(event_id=f"m-{number}")).encode()
                producer.send(events.PLAYS, f"key-{number % 7}", value)
                size += len(value) + len("key-0")

    # First they are read and wait for more, and the lake is behind; then they are in it.
    send(range(500))
    waiting = wait_for(lambda: (s := scrape(port))[("buffered_rows", ())] == 500 and s)
    assert by_topic(waiting, "lag_messages") == 500
    assert by_topic(waiting, "written_rows_total") == 0
    assert wait_for(lambda: scrape(port)[("oldest_unflushed_seconds", ())] > 2)
    send(range(500, 600))
    landed = wait_for(lambda: (s := scrape(port)) and by_topic(s, "lag_messages") == 0 and s)
    assert landed[("oldest_unflushed_seconds", ())] == 0
    assert by_topic(landed, "consumed_messages_total") == 600
    assert by_topic(landed, "consumed_bytes_total") == size
    assert by_topic(landed, "written_rows_total") == 540
    assert by_topic(landed, "dead_letters_total") == 60
    filesystem, files = parquet_files(own, "bronze/plays")
    assert by_topic(landed, "written_bytes_total") == sum(filesystem.size(f) for f in files)
    filesystem, files = parquet_files(own, "bronze/dead_letters")
    assert by_topic(landed, "dead_letter_bytes_total") == sum(filesystem.size(f) for f in files)
    flushes = by_topic(landed, "commit_seconds_count")
    assert flushes >= 1
    assert by_topic(landed, "flush_seconds_count") == 2 * flushes, "decoding and writing"
    assert 0 < by_topic(landed, "commit_seconds_sum") < by_topic(landed, "flush_seconds_sum")
    assert landed[("last_flush_timestamp_seconds", ())] > 1.7e9
    assert by_topic(landed, "conflicts_total") == by_topic(landed, "failures_total") == 0
    assert by_topic(landed, "consumed_messages_total", events.LIKES) == 0

    taken = own.with_settings(metrics_port=port)("land", "--until-idle", check=2)
    assert [line for line in taken.err.splitlines() if "METRICS_PORT" in line]
    assert end(process, signal.SIGTERM).code == 0
    assert scrape(port) == {}
    assert_whole(own)


def _place(partition: int) -> tuple[tuple[str, str], ...]:
    return (("partition", str(partition)), ("topic", events.PLAYS))


def test_who_asks_for_json_logs_gets_nothing_else(own: Cli, tmp_path: Path) -> None:
    asked = own.with_settings(log_format="json", log_level="info", flush_seconds=1)
    with Producer(own.settings()) as producer:
        producer.send(events.PLAYS, "key", json.dumps(play()).encode())
        producer.send(events.PLAYS, "key", b"{bad")
    landed = [json.loads(line) for line in asked("land", "--until-idle").err.splitlines()]
    assert {"joining", "partitions assigned", "dead letters"} <= {line["event"] for line in landed}
    failed = Cli(tmp_path / "none", log_format="json")("lake", "verify", check=1)
    last = [json.loads(line) for line in failed.err.splitlines()][-1]
    assert (last["level"], last["exit_code"]) == ("error", 1)
