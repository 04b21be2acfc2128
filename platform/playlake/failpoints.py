"""Named places at which a test lets a process die or freeze: what a power cut or a long pause would do there.

The environment variable ``PLAYLAKE_FAILPOINT`` says which, when and how: ``name`` (at the first pass), ``name:3`` (at
the third), ``name:3:stop`` (SIGSTOP there instead of SIGKILL; SIGCONT lets it go on). Unset, as always but in tests of
crashes, :func:`hit` does nothing.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from threading import Lock

from playlake.errors import UsageError

VARIABLE = "PLAYLAKE_FAILPOINT"
_passes: Counter[str] = Counter()
_lock = Lock()


def hit(name: str) -> None:
    """Pass the place ``name``: die or freeze if the environment says so.

    :raises UsageError: when the environment variable can't be understood.
    """
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    where, number, how = _parsed(wanted)
    if where != name:
        return
    with _lock:
        _passes[name] += 1
        passed = _passes[name]
    if passed == number:
        os.kill(os.getpid(), how)


def _parsed(text: str) -> tuple[str, int, signal.Signals]:
    name, _, rest = text.partition(":")
    number, _, how = rest.partition(":")
    if not (name and (number or "1").isdecimal() and how in ("", "kill", "stop")):
        raise UsageError(f"{VARIABLE}={text[:60]!r} names no failpoint (name, name:3, name:3:stop). Unset it.")
    return name, int(number or "1"), signal.SIGSTOP if how == "stop" else signal.SIGKILL
