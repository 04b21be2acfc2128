"""Consuming for the lake writer: start offsets are the caller's, never Kafka's committed ones."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import confluent_kafka as ck

from playlake import log
from playlake.broker import config
from playlake.broker.admin import answers
from playlake.errors import UnavailableError
from playlake.settings import Settings

_LIBRDKAFKA = logging.getLogger("librdkafka")
_LIBRDKAFKA.addHandler(logging.NullHandler())
_LIBRDKAFKA.propagate = False
_log = log.get("broker")

_GONE = (ck.KafkaError._ALL_BROKERS_DOWN, ck.KafkaError._TRANSPORT, ck.KafkaError._RESOLVE)


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class Record(NamedTuple):
    """One message. ``timestamp_ms`` is milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


@dataclass(slots=True)
class Polled:
    """What one poll brought: records, and for partitions whose end was reached the offset of that end."""

    records: list[Record] = field(default_factory=list)
    ends: dict[TopicPartition, int] = field(default_factory=dict)


def _record(message: ck.Message) -> Record:
    kind, timestamp = message.timestamp()
    if kind == ck.TIMESTAMP_NOT_AVAILABLE:
        timestamp = int(time.time() * 1000)
    return Record(message.topic(), message.partition(), message.offset(), timestamp, message.key(), message.value())


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
            # Tansu 0.6 makes a joining member wait half the session's time.
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 1500,
            "fetch.message.max.bytes": 16 * 1024 * 1024,
            "logger": _LIBRDKAFKA,
            "error_cb": on_error,
            **extra,
        }
    )


def claimed_end(client: ck.Consumer, tp: TopicPartition) -> int | None:
    """The end of a partition as the broker last told it; None while it has told nothing."""
    low_high = client.get_watermark_offsets(ck.TopicPartition(*tp), cached=True)
    return low_high[1] if low_high and low_high[1] >= 0 else None


def no_data(partitions: Sequence[TopicPartition]) -> str:
    """Words for partitions of which the broker gives nothing."""
    named = ", ".join(f"{t}/{p}" for t, p in partitions[:4])
    return f"no data of {named}" + (f" and {len(partitions) - 4} more partitions" if len(partitions) > 4 else "")


class Consumer:
    """A member of a consumer group whose start offsets are given by ``on_assign``.

    :param on_assign: gets the partitions assigned and returns the offset at which each starts.
    :param on_revoke: gets the partitions taken away, while they still are ours.
    """

    def __init__(
        self,
        settings: Settings,
        topics: Iterable[str],
        *,
        group: str,
        on_assign: Callable[[list[TopicPartition]], Mapping[TopicPartition, int]],
        on_revoke: Callable[[list[TopicPartition]], None],
    ) -> None:
        self._settings = settings
        if not answers(settings, settings.kafka_timeout_s):
            raise config.down(settings, "no connection")
        self._down_since: float | None = None
        self._reason = ""
        self._client = client(settings, group, self._on_error)

        def assigned(client: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
            starts = on_assign([TopicPartition(p.topic, p.partition) for p in partitions])
            client.assign(
                [
                    ck.TopicPartition(p.topic, p.partition, starts[TopicPartition(p.topic, p.partition)])
                    for p in partitions
                ]
            )

        def revoked(client: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
            on_revoke([TopicPartition(p.topic, p.partition) for p in partitions])

        def lost(client: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
            on_revoke([TopicPartition(p.topic, p.partition) for p in partitions])

        self._client.subscribe(list(topics), on_assign=assigned, on_revoke=revoked, on_lost=lost)

    def poll(self, most: int, timeout_s: float) -> Polled:
        """Take up to ``most`` messages, waiting ``timeout_s`` at the longest."""
        polled = Polled()
        for message in self._client.consume(most, timeout_s):
            error = message.error()
            if error is None:
                polled.records.append(_record(message))
            elif error.code() == ck.KafkaError._PARTITION_EOF:
                polled.ends[TopicPartition(message.topic(), message.partition())] = message.offset()
            else:
                self._on_error(error)
        if polled.records or polled.ends:
            self._down_since = None
        return polled

    def down_for(self) -> float:
        """Seconds since the broker went silent; 0 while it answers."""
        if self._down_since is None:
            return 0.0
        if answers(self._settings, 1.0):
            self._down_since = None
            return 0.0
        return time.monotonic() - self._down_since

    def unavailable(self) -> UnavailableError:
        """The error to raise when :meth:`down_for` has become too long."""
        return config.down(self._settings, self._reason or "no answer")

    def claimed_end(self, tp: TopicPartition) -> int | None:
        """The end of an assigned partition as the broker last told it; None while it has told nothing."""
        return claimed_end(self._client, tp)

    def silent(self, partitions: Sequence[TopicPartition]) -> UnavailableError:
        """The error to raise when the broker never told anything of these partitions."""
        return config.down(self._settings, no_data(partitions))

    def seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Go on at these offsets."""
        for tp, offset in offsets.items():
            self._client.seek(ck.TopicPartition(tp.topic, tp.partition, offset))

    def commit_hint(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Tell Kafka how far the lake is. A hint for lag only: a failure here changes nothing."""
        if not offsets:
            return
        try:
            self._client.commit(
                offsets=[ck.TopicPartition(tp.topic, tp.partition, o) for tp, o in offsets.items()], asynchronous=True
            )
        except ck.KafkaException as error:
            _log.debug("offset hint refused", error=str(error))

    def close(self) -> None:
        """Leave the group."""
        self._client.close()

    def _on_error(self, error: ck.KafkaError) -> None:
        if error.code() in _GONE:
            if self._down_since is None:
                self._down_since = time.monotonic()
                _log.warning("broker does not answer; still trying", error=error.str())
        else:
            _log.warning("broker reports", error=error.str())
        self._reason = error.str()
