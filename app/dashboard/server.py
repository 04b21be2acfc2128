"""The dashboard as a server: the pages of ``main.py``, each of which can also be opened, or reloaded, by its address.

Streamlit's page asks for its connection below the address it was opened at first, so that ``/top-content`` would begin
with two answers "404" in the browser's console. Such an address is sent to the start page, which opens the page.
"""

from __future__ import annotations

from pathlib import Path

from starlette.middleware import Middleware
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit.starlette import App

from app.dashboard.pages import PATHS


class OpenPagesFromTheStart:
    """Sends the address of a page to ``/?open=<page>``."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope.get("path", "").strip("/")
        if scope["type"] == "http" and scope["method"] == "GET" and path in PATHS:
            await RedirectResponse(f"/?open={path}", 302)(scope, receive, send)
            return
        await self._app(scope, receive, send)


app = App(Path(__file__).with_name("main.py"), middleware=[Middleware(OpenPagesFromTheStart)])
