"""Listening in a thread of its own, and a plain TCP proxy that can cut, refuse and delay: for the broker."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, Self

from tests.support.http1 import LIMIT

LOOPBACK = "127.0.0.1"


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST, as a crash or a firewall does."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Listening(ABC):
    """A server on a port of loopback, in a thread of its own. ``upstream`` may not be there yet."""

    def __init__(self, upstream: tuple[str, int], *, port: int = 0) -> None:
        self.upstream = upstream
        self._socket = socket.create_server((LOOPBACK, port))
        self.port: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.refusing = False
        self._thread = threading.Thread(target=self._serve, daemon=True, name=type(self).__name__)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join(10)
        self._socket.close()

    def cut(self, *, refuse: bool = False) -> None:
        """Reset every connection; ``refuse``: and every new one, until :meth:`heal`."""
        self.refusing = refuse
        self._loop.call_soon_threadsafe(self._reset_all)

    def heal(self) -> None:
        """Let connections in again."""
        self.refusing = False

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._loop.run_forever()
        self._loop.run_until_complete(self._gone())
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accepted, sock=self._socket, limit=LIMIT)

    async def _gone(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _end(self) -> None:
        self._server.close()
        self._reset_all()
        self._loop.stop()

    def _reset_all(self) -> None:
        for writer in list(self._open):
            reset(writer)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._open.add(writer)
        try:
            if self.refusing:
                reset(writer)
            else:
                await self.connected(reader, writer)
        except asyncio.CancelledError:
            reset(writer)  # the proxy ends
        finally:
            self._open.discard(writer)
            writer.close()

    @abstractmethod
    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Somebody has connected; the connection is closed when this returns."""

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to upstream, which ends with the others on :meth:`cut`."""
        reader, writer = await asyncio.open_connection(*self.upstream, limit=LIMIT)
        self._open.add(writer)
        return reader, writer

    def hang_up(self, writer: asyncio.StreamWriter) -> None:
        """End a connection to upstream."""
        self._open.discard(writer)
        writer.close()


class TcpProxy(Listening):
    """Passes bytes on, each portion ``delay_s`` seconds later."""

    delay_s = 0.0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Copy both ways until either side ends."""
        try:
            up_reader, up_writer = await self.dial()
        except OSError:
            reset(writer)  # as if nobody listened
            return
        try:
            await _first_of(self._copy(reader, up_writer), self._copy(up_reader, writer))
        finally:
            self.hang_up(up_writer)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(256 * 1024):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(data)
                await writer.drain()


async def _first_of(*both: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(one) for one in both]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
