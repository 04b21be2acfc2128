"""A store that is further away: every request reaches it some milliseconds later."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit


@contextlib.contextmanager
def delayed(endpoint: str, seconds: float) -> Iterator[str]:
    """An address on loopback that passes everything on to ``endpoint``, each request ``seconds`` later."""
    to = urlsplit(endpoint)
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, asks = await asyncio.open_connection(to.hostname, to.port)
        answered = asyncio.Event()
        answered.set()

        async def there() -> None:
            while data := await reader.read(1 << 20):
                if answered.is_set():  # the first bytes since an answer: a new request
                    answered.clear()
                    await asyncio.sleep(seconds)
                asks.write(data)
                await asks.drain()
            asks.close()

        async def back() -> None:
            while data := await answers.read(1 << 20):
                answered.set()
                writer.write(data)
                await writer.drain()
            writer.close()

        with contextlib.suppress(OSError):
            await asyncio.gather(there(), back())

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
