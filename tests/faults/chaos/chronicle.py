"""What happens in a run of chaos: a line each with its time, and how often each kind of thing has happened."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path


class ChaosError(AssertionError):
    """Something that must hold does not."""


class Chronicle:
    """Lines in a file, and counts by what happened and where. Several threads use it."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("w", buffering=1)
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self.counts: Counter[tuple[str, str]] = Counter()

    def note(self, text: str) -> None:
        """Write a line."""
        self._file.write(f"{time.monotonic() - self._began:8.2f} {text}\n")

    def count(self, what: str, where: str, times: int = 1) -> None:
        """Count what has happened."""
        with self._lock:
            self.counts[what, where] += times

    def total(self, *whats: str) -> int:
        """How often these have happened, wherever it was."""
        with self._lock:
            return sum(n for (what, _), n in self.counts.items() if what in whats)

    @property
    def kills(self) -> int:
        """kill -9 of writers and compactors."""
        return self.total("writer killed", "compactor killed")

    @property
    def zombies(self) -> int:
        """Writers that were frozen until others had their partitions, and then went on."""
        return self.total("writer frozen")

    def close(self) -> None:
        """End."""
        self._file.close()


def said_by(log: Path) -> str:
    """What a process has written.

    :raises ChaosError: where that is an error that nobody foresaw.
    """
    said = log.read_text(errors="replace") if log.exists() else ""
    if any(word in said for word in ("Traceback", "panicked", "This is a bug")):
        raise ChaosError(f"{log}: an error that nobody foresaw\n{said[-3000:]}")
    return said
