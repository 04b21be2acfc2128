"""What one poll of a consumer brings, as columns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

import confluent_kafka as ck

from playlake.broker.client import TopicPartition
from playlake.records import Run


@dataclass(slots=True)
class Polled:
    """What one poll brought."""

    runs: list[Run] = field(default_factory=list)
    ends: dict[TopicPartition, int] = field(default_factory=dict)
    """Partitions whose end was reached, and the offset of that end."""
    nowhere: list[TopicPartition] = field(default_factory=list)
    """Partitions whose log does not have the offset at which reading was to go on."""

    def __len__(self) -> int:
        return sum(map(len, self.runs))


def runs(messages: list[ck.Message]) -> Iterator[Run]:
    """Messages without errors as runs of one partition each."""
    topics, partitions = [m.topic() for m in messages], [m.partition() for m in messages]
    start = 0
    for (topic, partition), same in groupby(zip(topics, partitions, strict=True)):
        stop = start + sum(1 for _ in same)
        part = messages[start:stop] if stop - start < len(messages) else messages
        stamps = [m.timestamp()[1] for m in part]
        if min(stamps) < 0:  # none, or one from before 1970
            stamps = [_timestamp(m) for m in part]
        yield Run.of(
            topic,
            partition,
            [m.offset() for m in part],
            stamps,
            [m.key() for m in part],
            [m.value() for m in part],
        )
        start = stop


def _timestamp(message: ck.Message) -> int:
    kind, at = message.timestamp()
    return int(time.time() * 1000) if kind == ck.TIMESTAMP_NOT_AVAILABLE else int(at)
