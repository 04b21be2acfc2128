"""Reading the whole log, for the verifier: outside the writer's group, to the end that the broker really gives."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import confluent_kafka as ck

from playlake.broker import config
from playlake.broker.admin import answers
from playlake.broker.client import TopicPartition, assign, at_work, claimed_end, client, no_data, take
from playlake.broker.patience import PATIENT_MS
from playlake.settings import Settings

_SOON_S = 4.0
"""A log that is read within these seconds has short listings."""

_ENOUGH_SILENT = 4
"""Partitions that stayed silent, each read by itself, after which the rest need not be tried: one is too many."""


def read_offsets(
    settings: Settings,
    topics: Mapping[str, int],
    *,
    stall_s: float = 15.0,
    on_progress: Callable[[int], None] | None = None,
    on_unread: Callable[[TopicPartition, int, int], None] | None = None,
) -> dict[TopicPartition, array[int]]:
    """Every offset that the log holds now, by partition, read from its start to its end.

    The end is what the first fetch reports, because ``ListOffsets`` can be too low on Tansu; of what comes later, some
    is read too. The group is not joined.

    :param topics: number of partitions by topic.
    :param on_unread: called with partition, position and claimed end where the broker says that there is more but
        gives nothing for ``stall_s`` seconds (Tansu 0.6 claims offsets of a batch that it could not write).
    :raises UnavailableError: when the broker does not answer.
    """
    offsets = {TopicPartition(topic, p): array("q") for topic, count in topics.items() for p in range(count)}
    if not offsets:
        return offsets
    log = _Reader(settings, offsets, stall_s, on_progress, on_unread)
    # All in one fetch, which is fast; one by one where that says nothing, as one of them may hold up the others.
    silent: list[TopicPartition] = []
    still_open = set(offsets)
    if settings.profile == "embedded":  # an end is told sooner by fetches that do not wait for long; a long log, never
        still_open = log.read(still_open, for_s=_SOON_S)
    for tp in sorted(log.read(still_open)):
        silent += log.read({tp})
        if len(silent) >= _ENOUGH_SILENT:
            break
    if silent:
        raise config.down(settings, no_data(silent))
    return offsets


@dataclass(slots=True)
class _Reader:
    """Reads partitions to their end into ``offsets``."""

    settings: Settings
    offsets: dict[TopicPartition, array[int]]
    stall_s: float
    on_progress: Callable[[int], None] | None
    on_unread: Callable[[TopicPartition, int, int], None] | None
    ends: dict[TopicPartition, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def read(self, still_open: set[TopicPartition], for_s: float | None = None) -> set[TopicPartition]:
        """Read these with one client, and return those that stayed silent without a reason.

        :param for_s: end after so many seconds, whatever is still open then.

        Each call has a connection of its own: a client has one fetch under way per broker, and one that hangs would
        hold up all that the same client asks for later.
        """
        if not still_open:
            return still_open
        reader = client(
            self.settings,
            "playlake-reader",
            lambda error: self.reasons.append(error.str()),
            # With its queue full, a client would else sleep a second before it fetches on (librdkafka's default).
            **{"fetch.queue.backoff.ms": 5, **self._patience(for_s)},
        )
        try:
            self._assign(reader, still_open)
            last = time.monotonic()
            until = last + for_s if for_s else None
            while still_open and (until is None or time.monotonic() < until):
                if messages := take(reader, 20_000, 0.1):
                    last = time.monotonic()
                    told = self._take(messages)
                    ended = {tp for tp in still_open if tp in told or self._is_there(reader, tp)}
                    still_open = still_open - ended
                    reader.pause([ck.TopicPartition(*tp) for tp in ended])  # what is fetched on holds up the others
                elif time.monotonic() - last > self.stall_s:
                    if not answers(self.settings, 1.0) or not at_work(self.settings, sorted(still_open)):
                        raise config.down(self.settings, self.reasons[-1] if self.reasons else "no data")
                    stuck = self._stuck(reader, still_open)
                    if not stuck:
                        break
                    still_open = still_open - stuck
                    self._assign(reader, still_open)
                    last = time.monotonic()
        finally:
            reader.close()
        return still_open

    def _patience(self, for_s: float | None) -> dict[str, int]:
        return {} if for_s or self.settings.profile != "embedded" else {"fetch.wait.max.ms": PATIENT_MS}

    def _position(self, tp: TopicPartition) -> int:
        return self.offsets[tp][-1] + 1 if self.offsets[tp] else 0

    def _is_there(self, reader: ck.Consumer, tp: TopicPartition) -> bool:
        """Whether it is read to where it ended when it was first fetched: under a feed no end is ever told."""
        if tp not in self.ends and (claimed := claimed_end(reader, tp)) is not None:
            self.ends[tp] = claimed
        return tp in self.ends and self._position(tp) >= self.ends[tp]

    def _assign(self, reader: ck.Consumer, partitions: Iterable[TopicPartition]) -> None:
        assign(reader, {tp: self._position(tp) or ck.OFFSET_BEGINNING for tp in partitions})

    def _take(self, messages: Iterable[ck.Message]) -> set[TopicPartition]:
        """Note their offsets, and return the partitions whose end was told."""
        ended = set()
        for message in messages:
            error = message.error()
            if error is None:
                # A plain tuple, equal to its named one: a million are not made in no time.
                self.offsets[message.topic(), message.partition()].append(message.offset())  # type: ignore[index]
            elif error.code() == ck.KafkaError._PARTITION_EOF:
                ended.add(TopicPartition(message.topic(), message.partition()))
            else:
                self.reasons.append(error.str())
        if self.on_progress:
            self.on_progress(sum(map(len, self.offsets.values())))
        return ended

    def _stuck(self, reader: ck.Consumer, partitions: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Those of which the broker claims more than it gives; each is told to ``on_unread``."""
        stuck = set()
        for tp in sorted(partitions):
            claimed = claimed_end(reader, tp)
            if claimed is not None and claimed > self._position(tp):
                stuck.add(tp)
                if self.on_unread:
                    self.on_unread(tp, self._position(tp), claimed)
        return stuck
