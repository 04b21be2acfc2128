"""A client of Kafka's as every reader here has it, and taking messages from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import confluent_kafka as ck

from playlake.broker import config
from playlake.settings import Settings

_NAP_SECONDS = 0.01


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


def client(settings: Settings, group: str, on_error: Callable[[ck.KafkaError], None], **extra: Any) -> ck.Consumer:
    """A consumer that commits nothing by itself and tells the end of each partition."""
    return ck.Consumer(
        {
            **config.librdkafka(settings),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "session.timeout.ms": int(settings.kafka_session_s * 1000),
            "heartbeat.interval.ms": int(settings.kafka_session_s * 250),
            "fetch.message.max.bytes": 16 * 1024 * 1024,
            "error_cb": on_error,
            **extra,
        }
    )


def assign(client: ck.Consumer, offsets: Mapping[TopicPartition, int]) -> None:
    """Have a client that has just started read partitions, each from an offset on.

    The metadata is asked for first: without it, librdkafka looks for the leaders of partitions twice a second only.
    """
    with suppress(ck.KafkaException):  # the reads say why
        client.list_topics(timeout=1.0)
    client.assign([ck.TopicPartition(*tp, offset) for tp, offset in offsets.items()])


def claimed_end(client: ck.Consumer, tp: TopicPartition) -> int | None:
    """The end of a partition as the broker last told it; None while it has told nothing."""
    try:
        low_high = client.get_watermark_offsets(ck.TopicPartition(*tp), cached=True)
    except ck.KafkaException:  # the client does not know the partition yet
        return None
    return low_high[1] if low_high and low_high[1] >= 0 else None


def at_work(settings: Settings, partitions: Iterable[TopicPartition], timeout_s: float = 10.0) -> bool:
    """Whether the broker says where these partitions begin and end: one that is frozen takes connections and does not.

    On Tansu its object store must answer, too. Asked on a connection of its own: on one where a fetch hangs, all that
    is asked after it waits.
    """
    asking = client(settings, "playlake-reader", lambda _error: None)
    try:
        return all(
            asking.get_watermark_offsets(ck.TopicPartition(*tp), timeout=timeout_s, cached=False) is not None
            for tp in partitions
        )
    except ck.KafkaException:
        return False
    finally:
        asking.close()


def log_starts(
    settings: Settings, partitions: Iterable[TopicPartition], *, timeout_s: float = 15.0
) -> dict[TopicPartition, int]:
    """The log start offset of each partition: what retention removed lies before it.

    :raises UnavailableError: when the broker does not say.
    """
    reader = client(settings, "playlake-reader", lambda _error: None)
    found = {}
    try:
        for tp in partitions:
            found[tp] = int(reader.get_watermark_offsets(ck.TopicPartition(*tp), timeout=timeout_s)[0])
    except ck.KafkaException as error:
        raise config.down(settings, error.args[0].str()) from error
    finally:
        reader.close()
    return found


def no_data(partitions: Sequence[TopicPartition]) -> str:
    """Words for partitions of which the broker gives nothing."""
    named = ", ".join(f"{t}/{p}" for t, p in partitions[:4])
    return f"no data of {named}" + (f" and {len(partitions) - 4} more partitions" if len(partitions) > 4 else "")


def take(
    client: ck.Consumer, most: int, timeout_s: float, turn: Callable[[], object] = lambda: None
) -> list[ck.Message]:
    """Up to ``most`` messages, waiting ``timeout_s`` at the longest, by the monotonic clock.

    librdkafka waits until a time of day: after a jump back of the clock by two hours it would do so for two hours.

    :param turn: what changes when a rebalance was told. Messages taken before are dropped then: what comes next may be
        from earlier offsets, and librdkafka leaves out what is outdated within one call only.
    """
    until = time.monotonic() + timeout_s
    found: list[ck.Message] = []
    before = turn()
    while True:
        more = client.consume(most - len(found), 0)
        if (now := turn()) != before:
            found, before = [], now
        found += more
        if len(found) >= most or (left := until - time.monotonic()) <= 0:
            return found
        time.sleep(min(left, _NAP_SECONDS))
