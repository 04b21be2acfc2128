"""A proxy in front of an S3 store that lets requests go wrong in the ways in which networks and stores do.

Requests and answers pass unchanged, to the byte: what a client has signed (SigV4) stays signed. A fault is drawn for
each request from a seed:

- ``500``, ``503``, ``429``: answered by the proxy, the store never sees the request;
- ``reset``: the connection is reset when the request's head has arrived, the store never sees it;
- ``torn``: the store gets half of the body, then both connections are reset;
- ``lost``: the store does it, and its reply never arrives: the connection is reset instead;
- ``unsure``: the same, and for ``away_s`` that target takes no PUT: who tries again never learns what became of it;
- ``stall``: the request waits for ``stall_s`` and is then done, also when the client has given up meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.support import http1
from tests.support.http1 import BrokenError, Head
from tests.support.tcp import Listening, reset

KINDS = ("500", "503", "429", "reset", "torn", "lost", "unsure", "stall")
_CODES = {
    "500": ("500 Internal Server Error", "InternalError"),
    "503": ("503 Service Unavailable", "SlowDown"),
    "429": ("429 Too Many Requests", "TooManyRequests"),
}
_GONE = (BrokenError, OSError, asyncio.IncompleteReadError)


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

    def __init__(self, upstream: str, faults: Faults | None = None, *, seed: int = 0, port: int = 0) -> None:
        parts = urlsplit(upstream)
        assert parts.hostname
        super().__init__((parts.hostname, parts.port or 80), port=port)
        self.faults = faults or Faults()
        self.done: Counter[str] = Counter()
        """How often each fault has happened; ``passed`` are requests that went well."""
        self._rng = random.Random(seed)
        self._away: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """What clients are to use as the store's URL."""
        return f"http://{self.address}"

    def count(self, what: str) -> None:
        """Note that something happened."""
        with self._lock:
            self.done[what] += 1

    def draw(self, head: Head) -> str:
        """The fault of a request, or nothing."""
        if head.method == "PUT" and self._away.get(_path(head), 0.0) > time.monotonic():
            return "500"
        if not re.search(self.faults.match, f"{head.method} {head.target}"):
            return ""
        with self._lock:
            place = self._rng.random()
        for kind, share in self.faults.shares.items():
            place -= share
            if place < 0:
                return kind
        return ""

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the requests of one connection, one after the other."""
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while head := await http1.read_head(reader):
                if self.faults.latency_s:
                    await asyncio.sleep(self.faults.latency_s)
                fault = self.draw(head)
                if fault in _CODES:
                    self.count(fault)
                    if not await self._refuse(reader, writer, head, fault):
                        return
                    continue
                if fault == "reset":
                    self.count(fault)
                    reset(writer)
                    return
                try:
                    upstream = upstream or await self.dial()
                except OSError:
                    reset(writer)  # as if nobody listened
                    return
                if fault:
                    await self._go_wrong(fault, reader, writer, head, upstream)
                    return
                self.count("passed")
                if not await self._pass_on(reader, writer, head, *upstream):
                    return
        except _GONE:
            reset(writer)
        finally:
            if upstream:
                self.hang_up(upstream[1])

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: Head, kind: str) -> bool:
        """Answer in the store's place; whether the connection goes on."""
        waits = "100-continue" in head.get("expect")  # its body will not come
        if not waits:
            async for _ in http1.body(reader, head):
                pass
        status, code = _CODES[kind]
        text = (
            f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>of the tests</Message></Error>'
        )
        ends = waits or head.closes
        lines = [
            f"HTTP/1.1 {status}",
            "Content-Type: application/xml",
            f"Content-Length: {len(text)}",
            *(["Connection: close"] if ends else []),
        ]
        answer = "\r\n".join(lines) + "\r\n\r\n" + ("" if head.method == "HEAD" else text)
        writer.write(answer.encode())
        await writer.drain()
        return not ends

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        head: Head,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> bool:
        """Pass a request on and its answer back; whether both connections go on."""
        up_writer.write(head.raw)
        # Beside each other: a client that asked first waits for the store's "100 Continue" with its body.
        sending = asyncio.ensure_future(_copy(reader, head, up_writer))
        try:
            answer = await http1.read_head(up_reader)
            while answer and answer.status < 200:
                writer.write(answer.raw)
                await writer.drain()
                answer = await http1.read_head(up_reader)
            if not answer:
                raise BrokenError("the store has closed")
            writer.write(answer.raw)
            await _copy(up_reader, answer, writer, of_head=head.method == "HEAD")
            if not sending.done() and "100-continue" in head.get("expect"):
                return False  # refused before its body was sent
            await sending
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, *_GONE):
                await sending
        ended = head.method != "HEAD" and http1.ends_with_connection(answer)
        return not (head.closes or answer.closes or ended)

    async def _go_wrong(
        self,
        fault: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        head: Head,
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Faults in which the store gets something of the request. The client's connection ends with them."""
        up_reader, up_writer = upstream
        if "100-continue" in head.get("expect"):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = b"".join([part async for part in http1.body(reader, head)])
        self.count(fault)
        if fault == "torn":
            up_writer.write(head.raw + body[: len(body) // 2])
            await up_writer.drain()
            reset(up_writer)
            reset(writer)
            return
        if fault == "stall":
            await asyncio.sleep(self.faults.stall_s)
        up_writer.write(head.raw + body)
        await up_writer.drain()
        answer = await http1.read_head(up_reader)
        while answer and answer.status < 200:
            answer = await http1.read_head(up_reader)
        if not answer:
            raise BrokenError("the store has closed")
        parts = [part async for part in http1.body(up_reader, answer, of_head=head.method == "HEAD")]
        if fault in ("lost", "unsure"):
            if fault == "unsure":
                self._away[_path(head)] = time.monotonic() + self.faults.away_s
            reset(writer)
            return
        writer.write(answer.raw + b"".join(parts))
        await writer.drain()


def _path(head: Head) -> str:
    """Without the query, in which a signature may stand."""
    return head.target.partition("?")[0]


async def _copy(
    reader: asyncio.StreamReader, head: Head, writer: asyncio.StreamWriter, *, of_head: bool = False
) -> None:
    async for part in http1.body(reader, head, of_head=of_head):
        writer.write(part)
        await writer.drain()
    await writer.drain()
