"""Taking messages: what was fetched before a rebalance is not handed on after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playlake.broker.client import take


class Client:
    """Gives, call by call, what it was made with; a function is called first, as librdkafka's callbacks are."""

    def __init__(self, *calls: tuple[Callable[[], None] | None, list[int]]) -> None:
        self._calls = list(calls)

    def consume(self, most: int, _timeout: float) -> Any:
        before, given = self._calls.pop(0) if self._calls else (None, [])
        if before:
            before()
        assert len(given) <= most
        return given


def test_a_call_goes_on_where_the_one_before_ended() -> None:
    assert take(Client((None, [1, 2]), (None, []), (None, [3])), 3, 5) == [1, 2, 3]


def test_it_waits_no_longer_than_it_may() -> None:
    assert take(Client((None, [1])), 3, 0.05) == [1]


def test_what_was_fetched_before_a_rebalance_is_dropped() -> None:
    """Else the partition that comes back would be read from behind what it is to be read from."""
    turns: list[int] = []
    client = Client(
        (None, [1000, 1001]), (lambda: turns.append(1), []), (lambda: turns.append(2), [500]), (None, [501])
    )
    assert take(client, 4, 0.05, lambda: len(turns)) == [500, 501]
