"""Waiting for a condition: the one way in which the tests wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

DEADLINE_S = 120.0
"""Long enough for a busy machine. A test that passes does not wait so long; one that reaches it has failed."""


def wait_for(what: Callable[[], Any], seconds: float = DEADLINE_S, every: float = 0.1) -> Any:
    """The first true value of ``what()``.

    :raises AssertionError: when there is none before the deadline.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        pause(every)
    raise AssertionError(f"no true value within {seconds} s")


def repeat(step: Callable[[], object], until: Callable[[], Any]) -> None:
    """Repeat a step until a condition holds, before the same deadline."""

    def once() -> bool:
        if until():
            return True
        step()
        return False

    wait_for(once, every=0)


def pause(seconds: float) -> None:
    """Sleep. For the loops of this package and for tests/faults; elsewhere lint refuses it."""
    time.sleep(seconds)
