"""Transactions, on every broker: what an open one withholds is reported by all who are asked what is there."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import confluent_kafka as ck
import pytest

from playlake import broker
from playlake.settings import Settings
from tests.support.messages import play


@contextmanager
def transaction(settings: Settings) -> Iterator[ck.Producer]:
    producer = ck.Producer({"bootstrap.servers": settings.kafka_bootstrap, "transactional.id": uuid.uuid4().hex})
    producer.init_transactions(60)
    producer.begin_transaction()
    yield producer


def send(producer: ck.Producer, topic: str, partition: int, count: int) -> None:
    for _ in range(count):
        producer.produce(topic, json.dumps(play()).encode(), partition=partition)
    assert producer.flush(60) == 0


def withheld(settings: Settings, topic: str) -> dict[int, int]:
    partitions = [broker.TopicPartition(topic, p) for p in range(settings.kafka_partitions)]
    return {w.partition: w.messages for w in broker.open_transactions(settings, partitions)}


def test_what_an_open_transaction_withholds_is_counted_until_it_ends(settings: Settings, topic: str) -> None:
    assert withheld(settings, topic) == {}
    others = ck.Producer({"bootstrap.servers": settings.kafka_bootstrap})
    send(others, topic, 0, 5)
    send(others, topic, 1, 5)
    assert withheld(settings, topic) == {}
    with transaction(settings) as producer:
        send(producer, topic, 0, 3)
        send(others, topic, 0, 20)
        send(others, topic, 1, 7)
        assert withheld(settings, topic) == {0: 23}
        producer.commit_transaction(60)
    assert withheld(settings, topic) == {}


def test_behind_a_producer_that_commits_all_the_time_nothing_is_withheld(settings: Settings, topic: str) -> None:
    ended = threading.Event()

    def commit_all_the_time() -> None:
        producer = ck.Producer({"bootstrap.servers": settings.kafka_bootstrap, "transactional.id": uuid.uuid4().hex})
        producer.init_transactions(60)
        while not ended.is_set():
            producer.begin_transaction()
            send(producer, topic, 3, 1)
            producer.commit_transaction(60)

    with ThreadPoolExecutor(1) as pool:
        producing = pool.submit(commit_all_the_time)
        try:
            for _ in range(3):
                assert withheld(settings, topic) == {}
        finally:
            ended.set()
        producing.result()


@pytest.mark.parametrize("end", [ck.Producer.commit_transaction, ck.Producer.abort_transaction])
def test_marks_of_transactions_that_have_ended_are_no_messages(
    settings: Settings, topic: str, end: Callable[[ck.Producer, float], None]
) -> None:
    for _ in range(3):
        with transaction(settings) as producer:
            send(producer, topic, 2, 2)
            end(producer, 60)
    assert withheld(settings, topic) == {}
