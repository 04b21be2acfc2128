"""What waits in Kafka behind given positions: how much, and since when. Nothing is read further than needed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import confluent_kafka as ck

from playlake.broker import config
from playlake.broker.admin import answers
from playlake.broker.client import TopicPartition, assign, at_work, claimed_end, client, no_data, take
from playlake.broker.patience import PATIENT_MS
from playlake.settings import Settings

_SOON_S = 2.0
"""How long the look with quick fetches lasts."""


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
    A partition that gives neither a message nor its end, in two looks of which the second lasts ``stall_s`` seconds,
    while the broker says where it begins, has nothing that can be landed: marks of transactions, or, on Tansu 0.6,
    offsets of a batch that it could not write.

    :raises UnavailableError: when the broker does not answer, or tells nothing of a partition.
    """
    if not answers(settings, settings.kafka_timeout_s):
        raise config.down(settings, "no connection")
    look = _Look(settings, dict(positions))
    # A fetch that waits no longer than this says soon that there is nothing; Tansu finds nothing in a long log by then.
    for wait_ms, for_s in ((50, _SOON_S), (PATIENT_MS, stall_s)):
        if look.still_open:
            look.take(wait_ms, for_s)
    if look.still_open and not (answers(settings, 1.0) and at_work(settings, sorted(look.still_open))):
        raise config.down(settings, look.reasons[-1] if look.reasons else "no data")
    if look.silent:
        raise config.down(settings, no_data(sorted(look.silent)))
    return look.found


@dataclass(slots=True)
class _Look:
    """Reads partitions until something is said of each."""

    settings: Settings
    still_open: dict[TopicPartition, int]
    found: dict[TopicPartition, Waiting] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    silent: set[TopicPartition] = field(default_factory=set)
    """Of those that are still open, those of which nothing was told, not even where they end."""

    def take(self, wait_ms: int, for_s: float) -> None:
        """With one client, for so many seconds at the longest.

        :param wait_ms: how long a fetch may take.
        """
        reader = client(
            self.settings,
            "playlake-reader",
            lambda error: self.reasons.append(error.str()),
            **{"fetch.wait.max.ms": wait_ms},
        )
        try:
            assign(reader, self.still_open)
            until = time.monotonic() + for_s
            while self.still_open and time.monotonic() < until:
                done = set()
                for message in take(reader, 1000, 0.1):
                    tp = TopicPartition(message.topic(), message.partition())
                    if tp not in self.still_open:
                        continue
                    if message.error() is None:
                        end = claimed_end(reader, tp) or message.offset() + 1
                        self.found[tp] = Waiting(end - message.offset(), message.timestamp()[1])
                    elif message.error().code() != ck.KafkaError._PARTITION_EOF:
                        self.reasons.append(message.error().str())
                        continue
                    del self.still_open[tp]
                    done.add(tp)
                reader.pause([ck.TopicPartition(*tp) for tp in done])  # what is fetched on holds up the others
            self.silent = {tp for tp in self.still_open if claimed_end(reader, tp) is None}
        finally:
            reader.close()
