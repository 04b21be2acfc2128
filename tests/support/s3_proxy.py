"""A proxy in front of an S3 store that lets requests go wrong in the ways in which networks and stores do.

Requests and answers pass unchanged, to the byte: what a client has signed (SigV4) stays signed. Each is read whole
before it is passed on. A fault is drawn for each request from a seed:

- ``500``, ``503``, ``429``: answered by the proxy, the store never sees the request;
- ``reset``: the connection is reset when the request has arrived, the store never sees it;
- ``torn``: the store gets half of the body, then both connections are reset;
- ``lost``: the store does it, and its reply never arrives: the connection is reset instead;
- ``unsure``: the same, and for ``away_s`` every PUT of that target gets 500: a retry does not show what the store did;
- ``stall``: the request waits for ``stall_s`` and is then done, also when the client has given up meanwhile.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.support.http1 import BrokenError, Head, read_body, read_head
from tests.support.tcp import Listening, reset

_CODES = {
    "500": ("500 Internal Server Error", "InternalError"),
    "503": ("503 Service Unavailable", "SlowDown"),
    "429": ("429 Too Many Requests", "TooManyRequests"),
}
KINDS = (*_CODES, "reset", "torn", "lost", "unsure", "stall")
_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Faults:
    """What goes wrong: by kind of fault its share of the requests; seconds that each request is late, or stalls for.

    :param match: a pattern; only requests in whose method and target it is found (``PUT /``, ``_delta_log``).
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    latency_s: float = 0.0
    stall_s: float = 30.0
    away_s: float = 30.0
    match: str = ""

    def __post_init__(self) -> None:
        if wrong := set(self.shares) - set(KINDS):
            raise ValueError(f"no such faults: {sorted(wrong)}")


class S3Proxy(Listening):
    """The proxy, listening on a port of loopback while it is a context.

    :param upstream: the store's URL, ``http://host:port``.
    """

    def __init__(self, upstream: str | None, faults: Faults | None = None, *, seed: int = 0) -> None:
        parts = urlsplit(upstream or "")
        assert parts.hostname
        super().__init__((parts.hostname, parts.port or 80))
        self.url = f"http://{self.address}"
        """What clients are to use as the store's URL."""
        self.faults = faults or Faults()
        self.done: Counter[str] = Counter()
        """How often each fault has happened; ``passed`` are requests that went well."""
        self._rng = random.Random(seed)
        self._away: dict[str, float] = {}

    def _draw(self, head: Head) -> str:
        """The fault of a request, or nothing."""
        method, target, *_ = head.words
        if method == "PUT" and self._away.get(head.path, 0.0) > time.monotonic():
            return "500"
        if not re.search(self.faults.match, f"{method} {target}"):
            return ""
        place = self._rng.random()
        for kind, share in self.faults.shares.items():
            place -= share
            if place < 0:
                return kind
        return ""

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the requests of one connection, one after the other."""
        upstream: _Connection | None = None
        try:
            while head := await read_head(reader):
                await asyncio.sleep(self.faults.latency_s)
                if "100-continue" in head.get("expect"):
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = await read_body(reader, head)
                fault = self._draw(head)
                self.done[fault or "passed"] += 1
                if fault in _CODES:
                    writer.write(_refusal(head, fault))
                elif fault == "reset":
                    reset(writer)
                    return
                else:
                    upstream = upstream or await self.dial()
                    answer, goes_on = await self._done(fault, head, body, *upstream)
                    if not answer:
                        reset(writer)
                        return
                    writer.write(answer)
                    if not goes_on:
                        return
                await writer.drain()
        except (BrokenError, OSError):
            reset(writer)
        finally:
            if upstream:
                self.hang_up(upstream[1])

    async def _done(
        self, fault: str, head: Head, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[bytes, bool]:
        """Let the store do a request. Its answer, empty where that is lost; whether the connections go on."""
        if fault == "torn":
            writer.write(head.raw + body[: len(body) // 2])
            await writer.drain()
            reset(writer)
            return b"", False
        if fault == "stall":
            await asyncio.sleep(self.faults.stall_s)
        writer.write(head.raw + body)
        await writer.drain()
        answer = await read_head(reader)
        while answer and answer.status < 200:
            answer = await read_head(reader)
        if not answer:
            raise BrokenError("the store has closed")
        of_head = head.words[0] == "HEAD"
        found = answer.raw + await read_body(reader, answer, of_head=of_head)
        if fault == "unsure":
            self._away[head.path] = time.monotonic() + self.faults.away_s
        if fault in ("lost", "unsure"):
            return b"", False
        closes = "close" in head.get("connection") + answer.get("connection")
        return found, not closes and (of_head or answer.has_length)


def _refusal(head: Head, kind: str) -> bytes:
    """An answer in the store's place."""
    status, code = _CODES[kind]
    text = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>of the tests</Message></Error>'
    start = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(text)}\r\n\r\n"
    return (start + ("" if head.words[0] == "HEAD" else text)).encode()
