"""What open transactions keep from readers: messages that were acknowledged, of the transaction and of all others."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import confluent_kafka as ck

from playlake.broker.client import TopicPartition, assign, client, take
from playlake.settings import Settings

_LOOK_S = 5.0
"""How long the broker may take to say where its partitions end, and as long again to give what is withheld."""
_STILL_S = 3.0
"""How long a last stable offset must stay where it is: behind a producer that commits all the time it moves on."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Messages of a partition from its last stable offset to its high watermark.

    They are those of a transaction that was begun and neither committed nor aborted, and all that came after it: no
    reader of committed messages gets them until it ends.
    """

    topic: str
    partition: int
    messages: int
    since_ms: int
    """The time of the first, ms since 1970."""
    first: int
    """The last stable offset."""
    end: int
    """The high watermark."""

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since_ms / 1000, UTC).isoformat(timespec="seconds")
        return f"{self.topic}/{self.partition}: an open transaction withholds {self.messages:,} messages since {since}"

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        since = datetime.fromtimestamp(self.since_ms / 1000, UTC).isoformat(timespec="milliseconds")
        return {"topic": self.topic, "partition": self.partition, "messages": self.messages, "since": since}


def open_transactions(settings: Settings, partitions: Iterable[TopicPartition]) -> list[Withheld]:
    """Where the last stable offset is behind the high watermark with messages between, and stays. No group is joined.

    A broker that does not answer within some seconds is taken to withhold nothing: whoever asks this has just read
    from it, and tells what is wrong with it.
    """
    behind = _behind(settings, set(partitions))
    return sorted(_messages(settings, behind), key=lambda w: (w.topic, w.partition)) if behind else []


def _behind(settings: Settings, partitions: set[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
    """Last stable offset and high watermark of those where the one stays behind the other.

    As a fetch says them: Tansu's ListOffsets says too little of either.
    """
    found: dict[TopicPartition, tuple[int, int]] = {}

    def note(text: str) -> None:
        for topic, given in json.loads(text)["topics"].items():
            for number, ends in given["partitions"].items():
                tp = TopicPartition(topic, int(number))
                if tp in partitions and ends["ls_offset"] >= 0 and ends["hi_offset"] >= 0:
                    found[tp] = ends["ls_offset"], ends["hi_offset"]

    reader = client(
        settings, "playlake-reader", lambda _error: None, **{"statistics.interval.ms": 50, "stats_cb": note}
    )
    try:
        assign(reader, dict.fromkeys(partitions, ck.OFFSET_END))
        until = time.monotonic() + _LOOK_S
        while len(found) < len(partitions) and time.monotonic() < until:
            take(reader, 1000, 0.05)
        behind = {tp: (stable, end) for tp, (stable, end) in found.items() if stable < end}
        until = time.monotonic() + _STILL_S
        while behind and time.monotonic() < until:
            take(reader, 1000, 0.05)
            behind = {tp: ends for tp, ends in behind.items() if found[tp][0] == ends[0]}
    finally:
        reader.close()
    return behind


def _messages(settings: Settings, behind: dict[TopicPartition, tuple[int, int]]) -> list[Withheld]:
    """Of what lies between, the messages: marks of transactions that have ended are none."""
    reader = client(settings, "playlake-reader", lambda _error: None, **{"isolation.level": "read_uncommitted"})
    first: dict[TopicPartition, int] = {}
    count = dict.fromkeys(behind, 0)
    try:
        assign(reader, {tp: stable for tp, (stable, _) in behind.items()})
        still_open, until = set(behind), time.monotonic() + _LOOK_S
        while still_open and time.monotonic() < until:
            for message in take(reader, 10_000, 0.1):
                tp = TopicPartition(message.topic(), message.partition())
                if message.error() is not None or message.offset() >= behind[tp][1]:
                    still_open.discard(tp)
                    continue
                first.setdefault(tp, message.timestamp()[1])
                count[tp] += 1
    finally:
        reader.close()
    return [Withheld(*tp, count[tp], at, *behind[tp]) for tp, at in first.items()]
