"""A server on loopback in a thread of its own, and a TCP proxy that cuts, refuses and delays connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from abc import ABC, abstractmethod
from typing import Self

LOOPBACK = "127.0.0.1"
_LIMIT = 1024 * 1024


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST, as a crash or a firewall does."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Listening(ABC):
    """A server on a port of loopback while it is a context. ``upstream`` need not listen yet."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        self._socket = socket.create_server((LOOPBACK, 0))
        self.port: int = self._socket.getsockname()[1]
        self.address = f"{LOOPBACK}:{self.port}"
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusing = False
        self._thread = threading.Thread(target=self._serve, daemon=True, name=type(self).__name__)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._socket.close()

    def cut(self, *, refuse: bool = False) -> None:
        """Reset every connection; ``refuse``: and every new one, until :meth:`heal`."""
        self._refusing = refuse
        self._loop.call_soon_threadsafe(self._reset_all)

    def heal(self) -> None:
        """Accept connections again."""
        self._refusing = False

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        starting = asyncio.start_server(self._accepted, sock=self._socket, limit=_LIMIT)
        server = self._loop.run_until_complete(starting)
        self._loop.run_forever()
        server.close()
        self._reset_all()
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._loop.close()

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
            if self._refusing:
                reset(writer)
            else:
                await self.connected(reader, writer)
        except asyncio.CancelledError:
            reset(writer)
        finally:
            self._open.discard(writer)
            writer.close()

    @abstractmethod
    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection; it is closed when this returns."""

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to upstream, which :meth:`cut` resets too."""
        reader, writer = await asyncio.open_connection(*self.upstream, limit=_LIMIT)
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
            await asyncio.gather(self._copy(reader, up_writer), self._copy(up_reader, writer))
        finally:
            self.hang_up(up_writer)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(256 * 1024):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(data)
                await writer.drain()
        writer.close()  # which ends the copy of the other direction
