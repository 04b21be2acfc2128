"""What waits in Kafka, asked of a broker that gives nothing of it."""

from __future__ import annotations

import sys
from typing import Any

import confluent_kafka as ck
import pytest

from playlake.broker import TopicPartition, waiting
from playlake.errors import UnavailableError
from playlake.settings import Settings

MODULE = sys.modules["playlake.broker.waiting"]
ONE = TopicPartition("t", 0)


class Silent:
    """A client that is given no message and no end, and is told ``end`` or nothing at all."""

    def __init__(self, end: int) -> None:
        self.end = end

    def list_topics(self, timeout: float) -> None: ...

    def assign(self, _partitions: list[ck.TopicPartition]) -> None: ...

    def pause(self, _partitions: list[ck.TopicPartition]) -> None: ...

    def consume(self, _count: int, _timeout: float) -> list[Any]:
        return []

    def get_watermark_offsets(self, _tp: ck.TopicPartition, **_: Any) -> tuple[int, int]:
        return 0, self.end

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("end", "at_work", "words"),
    [(9, True, None), (9, False, "does not answer"), (-1001, True, "no data of t/0")],
    ids=["marks of transactions", "it stands still", "nothing is told"],
)
def test_a_partition_that_gives_nothing(
    monkeypatch: pytest.MonkeyPatch, end: int, at_work: bool, words: str | None
) -> None:
    monkeypatch.setattr(MODULE, "client", lambda *_, **__: Silent(end))
    monkeypatch.setattr(MODULE, "answers", lambda *_: True)
    monkeypatch.setattr(MODULE, "at_work", lambda *_: at_work)
    monkeypatch.setattr(MODULE, "_SOON_S", 0.05)
    settings = Settings(_env_file=None, kafka_bootstrap="127.0.0.1:1")
    if words is None:
        assert waiting(settings, {ONE: 8}, stall_s=0.05) == {}
        return
    with pytest.raises(UnavailableError, match=words):
        waiting(settings, {ONE: 8}, stall_s=0.05)
