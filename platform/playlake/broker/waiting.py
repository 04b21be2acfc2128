"""What waits in Kafka behind given positions: how much, and since when. Nothing is read further than needed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import confluent_kafka as ck

from playlake.broker import config
from playlake.broker.admin import answers
from playlake.broker.client import TopicPartition, claimed_end, client, take
from playlake.settings import Settings


@dataclass(frozen=True, slots=True)
class Waiting:
    """Messages of a partition at or after a position. ``oldest_ms`` is the first one's time, ms since 1970."""

    messages: int
    oldest_ms: int


def waiting(
    settings: Settings, positions: Mapping[TopicPartition, int], *, stall_s: float = 15.0
) -> dict[TopicPartition, Waiting]:
    """What there is at or after each position; a partition with nothing is left out. No group is joined.

    The count is the broker's claim (its high watermark), so it is an upper bound where offsets are missing.
    A partition that gives neither a message nor its end within ``stall_s`` seconds has nothing that can be landed
    (Tansu 0.6 can claim offsets of a batch that it could not write).

    :raises UnavailableError: when the broker does not answer.
    """
    if not answers(settings, settings.kafka_timeout_s):
        raise config.down(settings, "no connection")
    reasons: list[str] = []
    reader = client(settings, "playlake-reader", lambda error: reasons.append(error.str()), **{"fetch.wait.max.ms": 50})
    found: dict[TopicPartition, Waiting] = {}
    still_open = set(positions)
    try:
        reader.assign([ck.TopicPartition(*tp, offset) for tp, offset in positions.items()])
        until = time.monotonic() + stall_s
        while still_open and time.monotonic() < until:
            for message in take(reader, 1000, 0.1):
                tp = TopicPartition(message.topic(), message.partition())
                if tp not in still_open:
                    continue
                if message.error() is None:
                    end = claimed_end(reader, tp) or message.offset() + 1
                    found[tp] = Waiting(end - message.offset(), message.timestamp()[1])
                elif message.error().code() != ck.KafkaError._PARTITION_EOF:
                    reasons.append(message.error().str())
                    continue
                still_open.discard(tp)
        if still_open and not answers(settings, 1.0):
            raise config.down(settings, reasons[-1] if reasons else "no data")
    finally:
        reader.close()
    return found
