"""A sign of life of a long-running command: a file whose age a container's health check looks at."""

from __future__ import annotations

import time
from pathlib import Path

from playlake import log

_log = log.get("heartbeat")


class Heartbeat:
    """Touches a file, at most once in ``every_s`` seconds; without a file it does nothing."""

    def __init__(self, path: Path | None, *, every_s: float = 1.0) -> None:
        self._path = path
        self._every_s = every_s
        self._last: float | None = None

    def beat(self) -> None:
        """Say that all is well. A file that can't be touched is logged and stops nothing."""
        now = time.monotonic()
        if self._path is None or (self._last is not None and now - self._last < self._every_s):
            return
        self._last = now
        try:
            self._path.touch()
        except OSError as error:
            _log.warning("the heartbeat can't be written", file=str(self._path), why=error.strerror)
