"""Retention on the embedded broker: its log stays short, and what has not landed stays in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import kafka
import pytest

from playlake import broker, events
from playlake.broker import TopicPartition, consume
from playlake.lake.store import Store
from playlake.stack import retention
from tests.support.commands import Cli
from tests.support.lakes import assert_whole
from tests.support.waiting import wait_for

KEPT = 10
PARTITION = TopicPartition(events.PLAYS, 0)
FOLDER = "clusters/playlake/topics/user_plays/partitions/0000000000/"


@pytest.fixture
def cli(own: Cli) -> Cli:
    """A lake of its own: what a test finds in the log is what it has produced."""
    return own


def produce(settings: Any, count: int) -> None:
    """So many batches of one message each: none of them an event."""
    producer = kafka.KafkaProducer(bootstrap_servers=settings.kafka_bootstrap)
    for _ in range(count):
        producer.send(events.PLAYS, b"no event", partition=0).get(30)
    producer.close()


def batches(settings: Any) -> list[int]:
    """The first offsets of what the broker keeps of the partition."""
    store = retention.log_store(settings)
    return [int(key[-26:-6]) for key in store.keys(f"{FOLDER}records/")]


def test_what_has_landed_leaves_the_log_and_what_has_not_stays(cli: Cli) -> None:
    settings = cli.settings().model_copy(update={"embedded_log_batches": KEPT})
    produce(settings, 2 * KEPT + 5)
    assert retention.trim(settings) == 0, "nothing has landed"
    cli("land", "--until-idle")
    produce(settings, 3)  # these have not
    assert retention.trim(settings) == KEPT + 8
    assert batches(settings) == list(range(KEPT + 8, 2 * KEPT + 8))
    assert broker.log_starts(settings, {events.PLAYS: 4})[PARTITION] == KEPT + 8
    assert retention.trim(settings) == 0, "it is short now"

    produce(settings, 4 * KEPT)
    assert retention.trim(settings) == KEPT - 3, "as far as the lake is, though more is too long"
    assert batches(settings)[0] == 2 * KEPT + 5
    assert_whole(cli, pending=3 + 4 * KEPT)
    cli("land", "--until-idle")
    report = assert_whole(cli)
    assert report["expired"] == 0
    assert next(p for p in report["partitions"] if p["topic"] == events.PLAYS)["in_dead_letters"] == 6 * KEPT + 8


def test_a_lake_that_comes_too_late_is_told_what_is_gone(cli: Cli) -> None:
    settings = cli.settings().model_copy(update={"embedded_log_batches": KEPT})
    produce(settings, 3 * KEPT)
    cli("land", "--until-idle")
    assert retention.trim(settings) > 0
    begins = broker.log_starts(settings, {events.PLAYS: 4})[PARTITION]
    store = Store(settings)
    store.delete_all(store.keys("bronze/"))
    late = cli("land", "--until-idle")
    assert "messages were deleted from Kafka" in late.err
    assert f"count={begins}" in late.err
    report = cli.json("lake", "verify", check=1)
    assert (report["lost"], report["expired"], report["pending"]) == (0, begins, 0)


def test_a_start_that_moved_meanwhile_is_not_moved_back(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = cli.settings().model_copy(update={"embedded_log_batches": KEPT})
    produce(settings, 3 * KEPT)
    cli("land", "--until-idle")
    store = retention.log_store(settings)
    high = json.loads(store.read(f"{FOLDER}watermark.json"))["high"]
    at = batches(settings)
    stale = store.keys(f"{FOLDER}records/")
    assert retention.trim(settings) > 0
    monkeypatch.setattr(Store, "keys", lambda _self, _prefix: stale)  # one that was frozen after it looked
    retention._trim_one(store, FOLDER, at[KEPT], KEPT, lambda: False)
    assert json.loads(store.read(f"{FOLDER}watermark.json"))["low"] == high - KEPT


def test_a_log_to_which_is_written_all_the_time_is_trimmed_in_a_lull(cli: Cli) -> None:
    settings = cli.settings().model_copy(update={"embedded_log_batches": KEPT})
    produce(settings, 3 * KEPT)
    cli("land", "--until-idle")
    store, key, refused = retention.log_store(settings), f"{FOLDER}watermark.json", 0
    real = store.changed

    def after_the_broker(key: str, change: Callable[[bytes], bytes | None]) -> bool:
        """The broker writes between our look and our write, the first fifty times."""
        nonlocal refused

        def late(body: bytes) -> bytes | None:
            if refused < 50:
                store.write(key, body + b" ")  # another ETag
            return change(body)

        done = real(key, late)
        refused += not done
        return done

    store.changed = after_the_broker  # type: ignore[method-assign]
    assert retention.trim(settings, store) > 0
    assert refused == 50
    assert json.loads(store.read(key))["low"] > 0
    assert_whole(cli)


def test_who_gets_hardly_anything_of_a_long_log_asks_more_patiently(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tansu ends a fetch after a time, with what it has found by then: here the time is short, not the log long."""
    settings = cli.settings()
    with broker.Admin(settings) as admin:
        admin.ensure((events.PLAYS,))
    produce(settings, 800)
    monkeypatch.setitem(consume.FETCHING, "fetch.wait.max.ms", 1)
    read: list[int] = []

    def from_the_start(partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        read.clear()
        return dict.fromkeys(partitions, 0)

    consumer = broker.Consumer(
        settings, [events.PLAYS], group="starved", on_assign=from_the_start, on_revoke=lambda _partitions: None
    )

    def all_read() -> bool:
        for run in consumer.poll(1000, 0.2).runs:
            read.extend(run.offsets)
        return len(read) >= 800

    wait_for(all_read, 120, every=0)
    assert consumer._patient, "it was not starved"
    assert read == list(range(800))
    consumer.close()
