"""A consumer that remembers what it has read, and messages to read."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from playlake import broker
from playlake.broker import Consumer, Producer, TopicPartition
from playlake.settings import Settings
from tests.support.waiting import repeat


def send(settings: Settings, topic: str, count: int, start: int = 0) -> None:
    with Producer(settings) as producer:
        for n in range(start, start + count):
            producer.send(topic, f"key-{n % 17}", f"value-{n}".encode())
    assert producer.acknowledged == producer.sent == count


class Message(NamedTuple):
    """One message that was read."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


def messages(polled: broker.Polled) -> list[Message]:
    """Those of all runs, one by one."""
    return [Message(run.topic, run.partition, *columns) for run in polled.runs for columns in run.messages()]


class Reading:
    """A consumer that starts where it is told and remembers what it was given."""

    def __init__(self, settings: Settings, topic: str, group: str, starts: dict[int, int] | None = None) -> None:
        self.assigned: list[TopicPartition] = []
        self.records: list[Message] = []
        self.ends: dict[TopicPartition, int] = {}
        self._starts = starts or {}
        self.consumer = Consumer(settings, [topic], group=group, on_assign=self._on_assign, on_revoke=self._on_revoke)

    def _on_assign(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        self.assigned += partitions
        return {p: self._starts.get(p.partition, 0) for p in partitions}

    def _on_revoke(self, partitions: list[TopicPartition]) -> None:
        self.assigned = [p for p in self.assigned if p not in partitions]

    def to_the_end(self, partitions: int = 4) -> list[Message]:
        self.until(lambda: len(self.ends) >= partitions)
        return self.records

    def until(self, reached: Callable[[], bool]) -> None:
        """Poll until a condition holds."""
        repeat(self.poll, reached)

    def poll(self) -> None:
        polled = self.consumer.poll(1000, 0.2)
        self.records += messages(polled)
        self.ends |= polled.ends
