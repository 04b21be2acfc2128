"""Choosing ports on loopback."""

from __future__ import annotations

import fcntl
import itertools
import os
import random
import socket
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from playlake.errors import PlaylakeError

LOOPBACK = "127.0.0.1"
_RANGE = range(20_000, 32_000)
_LETTING_GO_S = 3.0
_NAMES = {"s3": "S3", "cache": "REDIS"}
"""What a port is called in its variable, where that is not its key."""


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def listens(port: int, host: str = LOOPBACK) -> bool:
    """Whether somebody takes connections there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


class Claims:
    """Ports that this command is about to have a server on, so that no other command of this user chooses them.

    A port is free until its server listens, which takes seconds: of two commands begun together both would choose it,
    and one would tell the address of the other's server. A claim is a locked file, and ends with its process.

    :param host: the address of the servers.
    :param kept: whether what this process becomes (``exec``) has the claims still.
    """

    def __init__(self, host: str = LOOPBACK, *, kept: bool = False) -> None:
        self._host, self._kept = host, kept
        self._files: dict[int, int] = {}
        self._folder = Path(tempfile.gettempdir()) / f"playlake-ports-{os.getuid()}"

    def free(self, port: int) -> bool:
        """Whether a server could listen there now and no other command has claimed it; it is claimed then."""
        return self._claim(port) and is_free(port, self._host)

    def close(self) -> None:
        """Give the claims up: the servers listen."""
        while self._files:
            os.close(self._files.popitem()[1])

    def _claim(self, port: int) -> bool:
        if port in self._files:
            return True
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            file = os.open(self._folder / str(port), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError:
            return True  # no folder for claims: as if nobody else were about to begin
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        os.set_inheritable(file, self._kept)
        self._files[port] = file
        return True


def choose(count: int, taken: Iterable[int] = ()) -> list[int]:
    """Free ports, all different, from below those that systems give to outgoing connections: they can be had again."""
    avoid = set(taken)
    order = random.Random().sample(_RANGE, len(_RANGE))  # noqa: S311 - no secret; asking the system 12,000 times is dear
    candidates = (port for port in order if port not in avoid)
    found = list(itertools.islice(filter(is_free, candidates), count))
    if len(found) < count:
        raise PlaylakeError(
            f"No free port between {_RANGE.start} and {_RANGE.stop}. End some programs, or set the ports."
        )
    return found


def holder(port: int) -> str:
    """Who listens on a port, for a message: `` (name, process 123)`` or nothing when that can't be seen."""
    try:
        for connection in psutil.net_connections("tcp"):
            address = connection.laddr
            if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
                return f" ({psutil.Process(connection.pid).name()}, process {connection.pid})"
    except psutil.Error:
        pass
    return ""


def held_by(port: int, pid: int) -> bool:
    """Whether a process, or one that it has started, listens there: an answer alone may be another stack's."""
    try:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            for connection in one.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return True
    except psutil.Error:
        pass
    return False


def _comes_free(port: int, free: Callable[[int], bool]) -> bool:
    """Whether a port is free, or becomes so in a moment: clients wait where the server that was killed has been."""
    deadline = time.monotonic() + _LETTING_GO_S
    while not free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def settle(
    known: dict[str, int],
    key: str,
    fixed: int,
    preferred: int = 0,
    *,
    variable: str = "",
    free: Callable[[int], bool] = is_free,
) -> int:
    """Settle the port of ``key``: the one set, else that of last time, else the usual one, else any free one.

    :param known: ports by key, changed here.
    :param variable: the one by which the port was set, for the message; without it, playlake's own for ``key``.
    :param free: whether a port can be had (``Claims.free``: and is claimed).
    :raises PlaylakeError: when a port that was set is taken.
    """
    if fixed:
        if not free(fixed):
            own = f"PLAYLAKE_{_NAMES.get(key, key.upper())}_PORT"
            raise PlaylakeError(
                f"Port {fixed} is taken{holder(fixed)}, but {variable or own} asks for it."
                " End that program, set another port, or leave the variable out to have a free one chosen."
            )
        known[key] = fixed
        return fixed
    if (port := known.get(key)) and _comes_free(port, free):
        return port
    if preferred and free(preferred):
        known[key] = preferred
        return preferred
    known[key] = next(port for port in choose(20, known.values()) if free(port))
    return known[key]
