"""Reading a log to its end where the broker claims offsets that it does not give (Tansu, after a full disk)."""

from __future__ import annotations

from typing import Any

import confluent_kafka as ck
import pytest

from playlake.broker import TopicPartition, offsets, read_offsets
from playlake.errors import UnavailableError
from playlake.settings import Settings

BROKEN, WHOLE, EMPTY = TopicPartition("t", 0), TopicPartition("t", 1), TopicPartition("u", 0)


class Message:
    def __init__(self, tp: TopicPartition, offset: int, *, end: bool = False) -> None:
        self.tp, self.at, self.end = tp, offset, end

    def topic(self) -> str:
        return self.tp.topic

    def partition(self) -> int:
        return self.tp.partition

    def offset(self) -> int:
        return self.at

    def error(self) -> ck.KafkaError | None:
        return ck.KafkaError(ck.KafkaError._PARTITION_EOF) if self.end else None


class Log:
    """A client of a broker that holds ``rows``, claims ``claims``, and tells no end while a broken one is asked for."""

    def __init__(self, rows: dict[TopicPartition, int], claims: dict[TopicPartition, int]) -> None:
        self.rows, self.claims = rows, claims
        self.asked: dict[TopicPartition, int] = {}

    def list_topics(self, timeout: float) -> None: ...

    def assign(self, partitions: list[ck.TopicPartition]) -> None:
        self.asked = {TopicPartition(p.topic, p.partition): max(p.offset, 0) for p in partitions}

    def consume(self, _count: int, _timeout: float) -> list[Message]:
        found = [Message(tp, at) for tp, start in self.asked.items() for at in range(start, self.rows[tp])]
        if all(self.claims[tp] == self.rows[tp] for tp in self.asked):
            found += [Message(tp, self.rows[tp], end=True) for tp in self.asked]
        self.asked = {tp: self.rows[tp] for tp in self.asked}
        return found

    def get_watermark_offsets(self, tp: ck.TopicPartition, cached: bool) -> tuple[int, int]:
        assert cached
        return 0, self.claims[TopicPartition(tp.topic, tp.partition)]

    def pause(self, partitions: list[ck.TopicPartition]) -> None:
        for p in partitions:
            del self.asked[TopicPartition(p.topic, p.partition)]

    def close(self) -> None: ...


@pytest.fixture
def settings() -> Settings:
    return Settings(_env_file=None, kafka_bootstrap="127.0.0.1:1")


def use(monkeypatch: pytest.MonkeyPatch, log: Log, *, answers: bool = True, at_work: bool = True) -> None:
    monkeypatch.setattr(offsets, "at_work", lambda *_: at_work)
    monkeypatch.setattr(offsets, "client", lambda *_, **__: log)
    monkeypatch.setattr(offsets, "answers", lambda *_: answers)


def test_a_stuck_partition_is_told_and_does_not_hold_up_the_others(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    use(monkeypatch, Log({BROKEN: 3, WHOLE: 5, EMPTY: 0}, {BROKEN: 9, WHOLE: 5, EMPTY: 0}))
    unread: list[Any] = []
    found = read_offsets(settings, {"t": 2, "u": 1}, stall_s=0.05, on_unread=lambda *what: unread.append(what))
    assert {tp: list(at) for tp, at in found.items()} == {BROKEN: [0, 1, 2], WHOLE: [0, 1, 2, 3, 4], EMPTY: []}
    assert unread == [(BROKEN, 3, 9)]


def test_partitions_that_say_nothing_together_are_read_one_by_one(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    log = Log({BROKEN: 3, WHOLE: 5, EMPTY: 0}, {BROKEN: 9, WHOLE: 5, EMPTY: 0})
    use(monkeypatch, log)
    alone, known = log.consume, log.get_watermark_offsets
    monkeypatch.setattr(log, "consume", lambda *a: alone(*a) if len(log.asked) == 1 else [])
    monkeypatch.setattr(
        log, "get_watermark_offsets", lambda *a, **k: known(*a, **k) if len(log.asked) == 1 else (0, -1001)
    )
    unread: list[Any] = []
    found = read_offsets(settings, {"t": 2, "u": 1}, stall_s=0.05, on_unread=lambda *what: unread.append(what))
    assert {tp: list(at) for tp, at in found.items()} == {BROKEN: [0, 1, 2], WHOLE: [0, 1, 2, 3, 4], EMPTY: []}
    assert unread == [(BROKEN, 3, 9)]


def test_a_fetch_that_never_returns_holds_up_its_own_connection_only(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """A client has one fetch under way per broker: what it asks for next waits behind the one that hangs."""
    rows = {BROKEN: 3, WHOLE: 5, EMPTY: 0}
    opened: list[Log] = []

    class Hanging(Log):
        hangs = False

        def consume(self, count: int, timeout: float) -> list[Message]:
            self.hangs = self.hangs or BROKEN in self.asked
            return [] if self.hangs else super().consume(count, timeout)

        def get_watermark_offsets(self, tp: ck.TopicPartition, cached: bool) -> tuple[int, int]:
            return (-1001, -1001) if self.hangs else super().get_watermark_offsets(tp, cached)

        def close(self) -> None:
            opened.remove(self)

    def client(*_: Any, **__: Any) -> Log:
        opened.append(Hanging(rows, rows))
        return opened[-1]

    monkeypatch.setattr(offsets, "client", client)
    monkeypatch.setattr(offsets, "answers", lambda *_: True)
    monkeypatch.setattr(offsets, "at_work", lambda *_: True)
    seen: list[int] = []
    with pytest.raises(UnavailableError, match="no data of t/0"):
        read_offsets(settings, {"t": 2, "u": 1}, stall_s=0.05, on_progress=seen.append)
    assert seen[-1] == rows[WHOLE]
    assert not opened


def test_silence_without_a_reason_is_no_end(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    log = Log({WHOLE: 5, EMPTY: 0}, {WHOLE: 5, EMPTY: 0})
    use(monkeypatch, log)
    monkeypatch.setattr(log, "consume", lambda *_: [])
    monkeypatch.setattr(log, "get_watermark_offsets", lambda *_, **__: (-1001, -1001))
    with pytest.raises(UnavailableError, match="no data of u/0"):
        read_offsets(settings, {"u": 1}, stall_s=0.05)


def test_a_broker_that_is_gone(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    use(monkeypatch, Log({BROKEN: 3}, {BROKEN: 9}), answers=False)
    with pytest.raises(UnavailableError, match="does not answer"):
        read_offsets(settings, {"t": 1}, stall_s=0.05)


def test_a_broker_that_stands_still_is_not_one_that_gives_nothing(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """It takes connections, and the half that was read was compared as if it were all."""
    log = Log({BROKEN: 3, WHOLE: 5, EMPTY: 0}, {BROKEN: 9, WHOLE: 5, EMPTY: 0})
    use(monkeypatch, log, at_work=False)
    with pytest.raises(UnavailableError):
        read_offsets(settings, {"t": 2, "u": 1}, stall_s=0.05)
