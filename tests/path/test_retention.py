"""Retention on the embedded broker: its log stays short, and what has not landed stays in it."""

from __future__ import annotations

import json
from typing import Any

import kafka
import pytest

from playlake import broker, events
from playlake.broker import TopicPartition
from playlake.lake.store import Store
from playlake.stack import retention
from tests.support.commands import Cli
from tests.support.lakes import assert_whole

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
    assert broker.log_starts(settings, [PARTITION])[PARTITION] == KEPT + 8
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
    begins = broker.log_starts(settings, [PARTITION])[PARTITION]
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
