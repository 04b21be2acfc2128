"""Children that end with the process that started them, however it ends: kill -9 closes its pipes, too."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

VARIABLE = "_PLAYLAKE_LIFELINE"
"""Environment variable with the number of the pipe that a child watches."""


@dataclass(frozen=True, slots=True)
class Lifeline:
    """What a child is started with: ``fds`` as ``pass_fds``, ``variables`` in its environment."""

    fds: tuple[int, ...]
    variables: dict[str, str]


@contextmanager
def lifeline() -> Iterator[Lifeline]:
    """A pipe for one child; leave the block once the child has been started and waited for."""
    read, write = os.pipe()
    try:
        yield Lifeline((read,), {VARIABLE: str(read)})
    finally:
        os.close(write)
        os.close(read)


def follow() -> None:
    """In the child: end when the process that started it has ended. Nothing where that gave no lifeline."""
    number = os.environ.pop(VARIABLE, None)
    if number is None:
        return

    def watch(pipe: int) -> None:
        os.read(pipe, 1)  # nothing is ever written
        os._exit(1)

    threading.Thread(target=watch, args=(int(number),), daemon=True).start()
