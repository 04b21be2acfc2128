"""As much of HTTP/1.1 as a proxy must know (RFC 9112): where a message ends. Nothing in a message is changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

_CHUNK = 64 * 1024
LIMIT = 1024 * 1024
"""Bytes that a head may have at most."""


class BrokenError(Exception):
    """The other side went away in the middle of a message, or speaks no HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request's or a response's first line and headers, as they came."""

    raw: bytes

    @property
    def line(self) -> str:
        """The first line."""
        return self.raw.split(b"\r\n", 1)[0].decode("latin-1")

    @property
    def method(self) -> str:
        """Of a request."""
        return self.line.split(" ")[0]

    @property
    def target(self) -> str:
        """Path and query of a request."""
        return self.line.split(" ")[1]

    @property
    def status(self) -> int:
        """Of a response."""
        return int(self.line.split(" ")[1])

    def get(self, name: str) -> str:
        """A header's value, lower case; empty where it is not there."""
        for line in self.raw.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.decode("latin-1").strip().lower() == name:
                return value.decode("latin-1").strip().lower()
        return ""

    @property
    def closes(self) -> bool:
        """Whether the connection ends after this message."""
        return "close" in self.get("connection")


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next head; None where the other side has closed in good order."""
    try:
        return Head(await reader.readuntil(b"\r\n\r\n"))
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise BrokenError("closed within a head") from error
        return None
    except (asyncio.LimitOverrunError, OSError) as error:
        raise BrokenError(str(error)) from error


async def body(reader: asyncio.StreamReader, head: Head, *, of_head: bool = False) -> AsyncIterator[bytes]:
    """The body's bytes as they are on the wire, chunk sizes included.

    :param of_head: whether this answers a HEAD, which has the headers of a body and none.
    """
    response = head.line.startswith("HTTP/")
    if of_head or (response and (head.status < 200 or head.status in (204, 304))):
        return
    try:
        if "chunked" in head.get("transfer-encoding"):
            async for part in _chunked(reader):
                yield part
        elif length := head.get("content-length"):
            left = int(length)
            while left:
                part = await reader.read(min(_CHUNK, left))
                if not part:
                    raise BrokenError("closed within a body")
                left -= len(part)
                yield part
        elif response:  # until the connection ends
            while part := await reader.read(_CHUNK):
                yield part
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
        raise BrokenError(str(error)) from error


async def _chunked(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        if size:
            yield line + await reader.readexactly(size + 2)
            continue
        end = line
        while (line := await reader.readuntil(b"\r\n")) != b"\r\n":  # trailers
            end += line
        yield end + line
        return


def ends_with_connection(head: Head) -> bool:
    """Whether a response's body ends only with its connection."""
    return not (head.get("content-length") or "chunked" in head.get("transfer-encoding") or head.status in (204, 304))
