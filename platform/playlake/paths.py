"""Paths as people write them, in settings and on command lines."""

from __future__ import annotations

from pathlib import Path

from playlake.errors import UsageError


def given_path(text: str | Path) -> Path:
    """The path that somebody wrote; ``~`` at its beginning is their home folder, where no shell has said so before.

    :raises UsageError: when it names a user who is none, or holds what no path can.
    """
    if "\0" in str(text):
        raise UsageError(f"{str(text)!r} is no path: it holds a zero character.")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{text} names a home folder that is not known ({error}). Write the path in full.") from error
