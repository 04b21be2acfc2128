"""A folder into which a person drops exports: what is new in it, and where the receipt of each goes.

What has become of a file is told beside it, in ``<name>.receipt.json``, which is also what keeps it from being read
again: it holds a fingerprint of names, sizes and times of change. A file that changes, or loses its receipt, is
imported again, which adds nothing that is in already.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from playlake.errors import UsageError
from playlake.sources.exports.receipt import write_whole

RECEIPT = ".receipt.json"
REFUSED = ".refused.jsonl"
_NOT_WHOLE_YET = (".part", ".partial", ".crdownload", ".download", ".tmp")
"""What browsers and copying programs call a file that they have not finished."""

SETTLE_S = 2.0
"""A file is left alone until it has not changed for so many seconds: it may still be being copied."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A file or folder in the inbox, as it is now."""

    path: Path
    fingerprint: str
    changed_at: float
    """Seconds since 1970 of the newest change."""

    @property
    def receipt(self) -> Path:
        """Where its receipt is."""
        return self.path.with_name(self.path.name + RECEIPT)

    @property
    def refused(self) -> Path:
        """Where its refused rows are."""
        return self.path.with_name(self.path.name + REFUSED)

    @property
    def settled(self) -> bool:
        """Whether it has its receipt, and has not changed since."""
        try:
            found = json.loads(self.receipt.read_text("utf-8"))
        except (OSError, ValueError):
            return False
        if not isinstance(found, dict) or found.get("fingerprint") != self.fingerprint:
            return False
        return bool(found.get("complete") or found.get("error"))  # an import that broke off goes on the next time

    def refuse(self, why: str) -> None:
        """Write a receipt that says that it can't be imported as it is."""
        write_whole(self.receipt, json.dumps({"fingerprint": self.fingerprint, "error": why}, indent=1) + "\n")


def new_in(inbox: Path, *, now: float | None = None) -> list[Dropped]:
    """What is in the inbox and has no receipt yet, oldest first; what may still be being copied is left out.

    :raises UsageError: when the folder can't be used.
    """
    now = time.time() if now is None else now
    try:
        inbox.mkdir(parents=True, exist_ok=True)
        found = [_look(child) for child in inbox.iterdir() if not _is_ours(child.name)]
    except OSError as error:
        raise UsageError(
            f"The inbox {inbox} can't be used ({error.strerror}). Set PLAYLAKE_INBOX to a folder that can be."
        ) from error
    new = [d for d in found if d and not d.settled and now - d.changed_at >= SETTLE_S]
    if new and not os.access(inbox, os.W_OK):
        raise UsageError(
            f"The inbox {inbox} can't be written, and a receipt goes beside each file."
            " Let the user who runs playlake write there."
        )
    return sorted(new, key=lambda d: (d.changed_at, d.path.name))


def _is_ours(name: str) -> bool:
    return name.startswith(".") or name.lower().endswith((RECEIPT, REFUSED, *_NOT_WHOLE_YET)) or name == "README.md"


def _look(path: Path) -> Dropped | None:
    """The file or folder as it is now; None where it went away meanwhile, or is an empty folder."""
    sign = hashlib.sha256()
    newest = 0.0
    try:
        for file in _files(path):
            stat = file.stat()
            sign.update(
                f"{file.relative_to(path.parent)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode(errors="replace")
            )
            newest = max(newest, stat.st_mtime)
    except FileNotFoundError:
        return None
    return Dropped(path, sign.hexdigest(), newest) if newest else None


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (p for p in sorted(path.rglob("*")) if p.is_file())
    else:
        yield path
