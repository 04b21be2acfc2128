"""Consuming for the lake writer: start offsets are the caller's, never Kafka's committed ones."""

from __future__ import annotations

import logging
import time
from array import array
from collections.abc import Callable, Iterable, Mapping
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


def _client(settings: Settings, group: str, on_error: Callable[[ck.KafkaError], None], **extra: Any) -> ck.Consumer:
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
        self._client = _client(settings, group, self._on_error)

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


_SILENT = 3
"""Partitions that may stay silent when read by themselves; one more, and the broker is said not to answer."""


def read_offsets(
    settings: Settings,
    topics: Mapping[str, int],
    *,
    stall_s: float = 15.0,
    on_progress: Callable[[int], None] | None = None,
    on_unread: Callable[[TopicPartition, int, int], None] | None = None,
) -> dict[TopicPartition, array[int]]:
    """Every offset that the log holds now, by partition, read from its start to its end.

    The end is what a fetch reports, because ``ListOffsets`` can be too low on Tansu. The group is not joined.

    :param topics: number of partitions by topic.
    :param on_unread: called with partition, position and claimed end where the broker says that there is more but
        gives nothing for ``stall_s`` seconds (Tansu 0.6 claims offsets of a batch that it could not write).
    :raises UnavailableError: when the broker does not answer.
    """
    offsets = {TopicPartition(topic, p): array("q") for topic, count in topics.items() for p in range(count)}
    if not offsets:
        return offsets
    reader = _Reader(settings, offsets, stall_s, on_progress, on_unread)
    # All in one fetch, which is fast; one by one where that says nothing, as one of them may hold up the others.
    silent: list[TopicPartition] = []
    for tp in sorted(reader.read(set(offsets))):
        silent += reader.read({tp})
        if len(silent) > _SILENT:
            break
    if silent:
        raise config.down(settings, "no data of " + ", ".join(f"{t}/{p}" for t, p in silent))
    return offsets


@dataclass(slots=True)
class _Reader:
    """Reads partitions to their end into ``offsets``."""

    settings: Settings
    offsets: dict[TopicPartition, array[int]]
    stall_s: float
    on_progress: Callable[[int], None] | None
    on_unread: Callable[[TopicPartition, int, int], None] | None
    reasons: list[str] = field(default_factory=list)

    def read(self, still_open: set[TopicPartition]) -> set[TopicPartition]:
        """Read these with one client, and return those that stayed silent without a reason.

        Each call has a connection of its own: a client has one fetch under way per broker, and one that hangs would
        hold up all that the same client asks for later.
        """
        client = _client(self.settings, "playlake-reader", lambda error: self.reasons.append(error.str()))
        try:
            self._assign(client, still_open)
            last = time.monotonic()
            while still_open:
                if messages := client.consume(20_000, 0.1):
                    last = time.monotonic()
                    still_open = still_open - self._take(messages)
                elif time.monotonic() - last > self.stall_s:
                    if not answers(self.settings, 1.0):
                        raise config.down(self.settings, self.reasons[-1] if self.reasons else "no data")
                    stuck = self._stuck(client, still_open)
                    if not stuck:
                        break
                    still_open = still_open - stuck
                    self._assign(client, still_open)
                    last = time.monotonic()
        finally:
            client.close()
        return still_open

    def _position(self, tp: TopicPartition) -> int:
        return self.offsets[tp][-1] + 1 if self.offsets[tp] else 0

    def _assign(self, client: ck.Consumer, partitions: Iterable[TopicPartition]) -> None:
        client.assign([ck.TopicPartition(*tp, self._position(tp) or ck.OFFSET_BEGINNING) for tp in partitions])

    def _take(self, messages: Iterable[ck.Message]) -> set[TopicPartition]:
        """Note their offsets, and return the partitions whose end was told."""
        ended = set()
        for message in messages:
            error = message.error()
            tp = TopicPartition(message.topic(), message.partition())
            if error is None:
                self.offsets[tp].append(message.offset())
            elif error.code() == ck.KafkaError._PARTITION_EOF:
                ended.add(tp)
            else:
                self.reasons.append(error.str())
        if self.on_progress:
            self.on_progress(sum(map(len, self.offsets.values())))
        return ended

    def _stuck(self, client: ck.Consumer, partitions: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Those of which the broker claims more than it gives; each is told to ``on_unread``."""
        stuck = set()
        for tp in sorted(partitions):
            claimed = client.get_watermark_offsets(ck.TopicPartition(*tp), cached=True)[1]
            if claimed > self._position(tp):
                stuck.add(tp)
                if self.on_unread:
                    self.on_unread(tp, self._position(tp), claimed)
        return stuck
