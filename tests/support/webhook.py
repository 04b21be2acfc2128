"""A webhook that records what it receives."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Webhook:
    """A real webhook on loopback, and what it received: path and message. One with ``bad`` in its path fails."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Any]] = []
        got = self.got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                got.append((self.path, json.loads(self.rfile.read(int(self.headers["content-length"])))))
                self.send_response(500 if "bad" in self.path else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self.server.server_port}/hook"
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def told(self) -> list[Any]:
        """The messages."""
        return [message for _, message in self.got]

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()
