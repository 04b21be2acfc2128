"""When a run that is to land all there is has done so."""

from __future__ import annotations

from playlake.lake.idle import STALL_SECONDS, UntilIdle

NOTHING = {"read": False, "told": False, "working": False, "buffered": False, "at_end": False}


def turn(idle: UntilIdle, now: float, **seen: bool) -> bool:
    return idle.turn(now, **{**NOTHING, **seen})


def test_it_ends_after_a_while_at_the_end() -> None:
    idle = UntilIdle(0.0, 1.0)
    assert not turn(idle, 0.0, at_end=True)
    assert not turn(idle, 0.9, at_end=True)
    assert turn(idle, 1.0, at_end=True)
    assert not idle.stalled


def test_a_message_at_the_end_begins_the_while_anew() -> None:
    idle = UntilIdle(0.0, 1.0)
    turn(idle, 0.0, at_end=True)
    assert not turn(idle, 0.9, at_end=True, read=True)
    assert not turn(idle, 1.5, at_end=True)
    assert turn(idle, 2.5, at_end=True)


def test_what_is_held_at_the_end_is_written_first() -> None:
    idle = UntilIdle(0.0, 1.0)
    assert not turn(idle, 0.0, at_end=True, buffered=True)
    assert idle.drain
    assert not turn(idle, 5.0, at_end=True, working=True)
    assert not turn(idle, 6.0, at_end=True)
    assert turn(idle, 7.0, at_end=True)


def test_nothing_is_drained_before_the_end() -> None:
    idle = UntilIdle(0.0, 1.0)
    turn(idle, 0.0, buffered=True)
    assert not idle.drain
    turn(idle, 0.1, buffered=True, at_end=True, read=True)
    assert not idle.drain


def test_a_long_silence_is_an_end_too() -> None:
    idle = UntilIdle(0.0, 1.0)
    assert not turn(idle, STALL_SECONDS)
    assert not idle.stalled
    assert not turn(idle, STALL_SECONDS + 0.1)
    assert idle.stalled
    assert idle.drain
    assert turn(idle, STALL_SECONDS + 1.1)


def test_a_broker_that_was_away_has_its_time_when_it_is_back() -> None:
    """And so has a group that took long to form."""
    idle = UntilIdle(0.0, 1.0)
    assert not turn(idle, 60.0, told=True)
    assert not turn(idle, 61.0)
    assert not idle.stalled
    assert not turn(idle, 60.0 + STALL_SECONDS)
    assert not turn(idle, 60.1 + STALL_SECONDS)
    assert idle.stalled
