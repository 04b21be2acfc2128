"""What a soak says of memory and disk that did not stay flat."""

from __future__ import annotations

from collections.abc import Callable

from bench.soak_end import grown

HOURS = 48


def _grown(memory: Callable[[int], float], disk: Callable[[int], float], hours: int = HOURS) -> list[str]:
    """For 4,000 events an hour."""
    numbers = range(1, hours + 1)
    return grown(
        [{"writer": memory(n), "feed": 100.0 * n} for n in numbers],
        [{"all": disk(n)} for n in numbers],
        [4_000] * hours,
    )


def test_what_is_flat_is_well() -> None:
    # A saw: the writer is killed now and then, and compaction takes away what a day has left.
    assert _grown(lambda n: 200 + 10 * (n % 5), lambda n: 60 + 2 * n + 3 * (n % 24)) == []


def test_memory_that_grows_is_told() -> None:
    [told] = _grown(lambda n: 200 + 5 * n, lambda n: 60)
    assert "memory of writer" in told
    [told] = _grown(lambda n: 20 + 2 * n, lambda n: 60)
    assert "memory of writer" in told, "a small one, too"


def test_disk_that_grows_faster_than_what_comes_is_told() -> None:
    [told] = _grown(lambda n: 200, lambda n: 60 + n * n / 16)
    assert "grows faster" in told


def test_disk_that_grows_evenly_for_nothing_is_told() -> None:
    [told] = _grown(lambda n: 200, lambda n: 60 + 12 * n)
    assert "for 96,000 events" in told


def test_a_few_hours_tell_nothing() -> None:
    assert _grown(lambda n: 200 * n, lambda n: 60 * n, hours=6) == []


def test_disk_is_judged_also_where_memory_can_not_be() -> None:
    hours = 24
    [told] = grown(
        [{"writer": 20.0 * n} for n in range(6)], [{"all": 60.0 + n * n} for n in range(hours)], [10] * hours
    )[:1]
    assert "grows faster" in told
