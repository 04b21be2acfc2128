"""As much of HTTP/1.1 as a proxy needs (RFC 9112): where a message ends. Nothing in a message is changed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


class BrokenError(Exception):
    """The other side closed in the middle of a message, or does not speak HTTP/1.1."""


_ERRORS = (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Head:
    """First line and headers of a request or a response, as they came."""

    raw: bytes

    @property
    def words(self) -> list[str]:
        """The first line: method, target, version; or version, status, reason."""
        return self.raw.split(b"\r\n", 1)[0].decode("latin-1").split(" ")

    @property
    def status(self) -> int:
        """Status of a response; 0 of a request."""
        return int(self.words[1]) if self.words[0].startswith("HTTP/") else 0

    @property
    def path(self) -> str:
        """Target of a request without its query, which may hold a signature."""
        return self.words[1].partition("?")[0]

    def get(self, name: str) -> str:
        """A header's value in lower case; empty where there is none."""
        for line in self.raw.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.decode("latin-1").strip().lower() == name:
                return value.decode("latin-1").strip().lower()
        return ""

    @property
    def has_length(self) -> bool:
        """Whether a response's body ends before its connection does."""
        chunked = "chunked" in self.get("transfer-encoding")
        return chunked or bool(self.get("content-length")) or self.status in (204, 304)


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next head; None where the other side has closed between two messages."""
    try:
        return Head(await reader.readuntil(b"\r\n\r\n"))
    except _ERRORS as error:
        if isinstance(error, asyncio.IncompleteReadError) and not error.partial:
            return None
        raise BrokenError(str(error)) from error


async def read_body(reader: asyncio.StreamReader, head: Head, *, of_head: bool = False) -> bytes:
    """The body as it is on the wire, with the sizes of its chunks.

    :param of_head: whether this answers a HEAD: it has the headers of a body, and no body.
    """
    try:
        if of_head or head.status in (204, 304):
            return b""
        if "chunked" in head.get("transfer-encoding"):
            return await _read_chunks(reader)
        if length := head.get("content-length"):
            return await reader.readexactly(int(length))
        return await reader.read() if head.status else b""
    except _ERRORS as error:
        raise BrokenError(str(error)) from error


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    found = bytearray()
    while True:
        line = await reader.readuntil(b"\r\n")
        found += line
        if not (size := int(line.split(b";")[0], 16)):
            break
        found += await reader.readexactly(size + 2)
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        found += line  # trailers
    return bytes(found + line)
