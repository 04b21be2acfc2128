"""Choosing ports on loopback."""

from __future__ import annotations

import itertools
import random
import socket
import time
from collections.abc import Iterable

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


def _comes_free(port: int) -> bool:
    """Whether a port is free, or becomes so in a moment: clients wait where the server that was killed has been."""
    deadline = time.monotonic() + _LETTING_GO_S
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def settle(known: dict[str, int], key: str, fixed: int, preferred: int = 0, *, variable: str = "") -> int:
    """Settle the port of ``key``: the one set, else that of last time, else the usual one, else any free one.

    :param known: ports by key, changed here.
    :param variable: the one by which the port was set, for the message; without it, playlake's own for ``key``.
    :raises PlaylakeError: when a port that was set is taken.
    """
    if fixed:
        if not is_free(fixed):
            own = f"PLAYLAKE_{_NAMES.get(key, key.upper())}_PORT"
            raise PlaylakeError(
                f"Port {fixed} is taken{holder(fixed)}, but {variable or own} asks for it."
                " End that program, set another port, or leave the variable out to have a free one chosen."
            )
        known[key] = fixed
        return fixed
    if (port := known.get(key)) and _comes_free(port):
        return port
    if preferred and is_free(preferred):
        known[key] = preferred
        return preferred
    known[key] = choose(1, known.values())[0]
    return known[key]
