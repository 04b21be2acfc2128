"""Real HTTP servers on loopback that record what is posted to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class PostServer:
    """A server that keeps each path and JSON body of a POST, and answers with a status and a JSON body."""

    def __init__(self, answer: Callable[[str], tuple[int, Any]]) -> None:
        """:param answer: the status and the body to answer with, by path."""
        self.got: list[tuple[str, Any]] = []
        got = self.got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                got.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
                status, body = answer(self.path)
                sent = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.server.server_port

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()


class Webhook(PostServer):
    """A webhook; a path with ``bad`` in it answers 500."""

    def __init__(self) -> None:
        super().__init__(lambda path: (500 if "bad" in path else 200, None))
        self.url = f"json://127.0.0.1:{self.port}/hook"

    @property
    def messages(self) -> list[Any]:
        """The bodies, parsed."""
        return [json.loads(body) for _, body in self.got]
