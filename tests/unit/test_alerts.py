"""Alerts reach a real webhook and a real mail server, and never show an address."""

from __future__ import annotations

import socketserver
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
from pydantic import SecretStr

from playlake.alerts import alert
from playlake.errors import PlaylakeError
from playlake.settings import Settings
from tests.support.post_server import Webhook

SECRET = "hook-secret-of-a-test"


class Mail:
    """A mail server of the smallest kind (RFC 5321): what it is sent."""

    def __init__(self) -> None:
        self.got: list[str] = []
        got = self.got

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 test\r\n")
                lines: list[str] | None = None
                for raw in self.rfile:
                    line = raw.decode().rstrip("\r\n")
                    if lines is not None:
                        if line == ".":
                            got.append("\n".join(lines))
                            lines = None
                            self.wfile.write(b"250 kept\r\n")
                        else:
                            lines.append(line)
                    elif line.upper() == "DATA":
                        lines = []
                        self.wfile.write(b"354 go on\r\n")
                    elif line.upper() == "QUIT":
                        self.wfile.write(b"221 bye\r\n")
                        return
                    else:
                        self.wfile.write(b"250 ok\r\n")

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(params=[Webhook, Mail])
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = request.param()
    yield made
    made.close()


def url(server: Any, path: str = "hook") -> str:
    port = server.server.server_address[1]
    if isinstance(server, Webhook):
        return f"json://127.0.0.1:{port}/{path}?+X-Token={SECRET}"
    return f"mailto://127.0.0.1:{port}?from=playlake@example.org&to=someone@example.org&mode=insecure&smtp=127.0.0.1"


def settings(*urls: str, **more: Any) -> Settings:
    return Settings(_env_file=None, alert_urls=SecretStr(" ".join(urls)) if urls else None, **more)


def test_an_alert_arrives(server: Any) -> None:
    assert alert(settings(url(server)), "failure", "it failed", "the reason") == 1
    assert "it failed" in str(server.got)
    assert "the reason" in str(server.got)


def test_only_failures_if_so_wished(server: Any) -> None:
    wishes = settings(url(server), alert_on="failure")
    assert alert(wishes, "success", "it went well", "") == 0
    assert server.got == []
    assert alert(wishes, "failure", "it failed", "") == 1


@pytest.fixture
def hook() -> Iterator[Webhook]:
    made = Webhook()
    yield made
    made.close()


def test_an_address_that_fails_is_named_by_its_place_and_the_others_are_told(
    hook: Webhook, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = (url(hook, "bad"), "nonsense", url(hook))
    with pytest.raises(PlaylakeError) as raised:
        alert(settings(*urls), "success", "it went well", "")
    text = str(raised.value)
    assert "2 of 3 addresses" in text
    assert "number 1 (json)" in text
    assert "number 2" in text
    assert [path for path, _ in hook.got][-1] == "/hook"
    captured = capsys.readouterr()
    assert SECRET not in text + captured.out + captured.err


def test_without_an_address_it_is_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    from playlake import log

    log.configure("warning")
    assert alert(settings(), "failure", "it failed", "the reason") == 0
    said = capsys.readouterr().err
    assert "it failed" in said
    assert "the reason" in said
