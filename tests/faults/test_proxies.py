"""The proxies of this suite: the lake's S3 clients work through them, and each fault is what it says, on both sides."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
import s3fs
from deltalake import DeltaTable, write_deltalake

from playlake.lake.options import secret, storage_options
from playlake.lake.store import Store
from playlake.settings import Settings
from playlake.warehouse import duck
from tests.support.s3_proxy import KINDS, Faults, S3Proxy
from tests.support.tcp import TcpProxy
from tests.support.waiting import pause, wait_for

GONE = (ConnectionResetError, http.client.RemoteDisconnected, BrokenPipeError)


@pytest.fixture
def proxy(lake_settings: Settings) -> Iterator[S3Proxy]:
    with S3Proxy(lake_settings.s3_endpoint, seed=1) as made:
        yield made


@pytest.fixture
def through(lake_settings: Settings, proxy: S3Proxy) -> Settings:
    """The lake's settings with the proxy as the store."""
    Store(lake_settings).ensure_bucket()
    return lake_settings.model_copy(update={"s3_endpoint": proxy.url})


def files(settings: Settings) -> s3fs.S3FileSystem:
    return s3fs.S3FileSystem(
        key=secret(settings.s3_access_key),
        secret=secret(settings.s3_secret_key),
        endpoint_url=settings.s3_endpoint,
        skip_instance_cache=True,
        use_listings_cache=False,
    )


class Call:
    """One signed request by the standard library's client, which repeats nothing."""

    def __init__(self, settings: Settings, method: str, key: str) -> None:
        self.path = f"{settings.s3_bucket}/{key}"
        names = {"PUT": "put_object", "GET": "get_object", "HEAD": "head_object"}
        url = urlsplit(files(settings).url(self.path, client_method=names[method]))
        self.method, self.target = method, f"{url.path}?{url.query}"
        self.connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=20)

    def __call__(self, body: bytes | None = None, *, timeout: float = 20) -> tuple[int, bytes]:
        self.connection.timeout = timeout
        self.connection.request(self.method, self.target, body)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def __del__(self) -> None:
        self.connection.close()


def test_the_lakes_clients_work_through_it(lake_settings: Settings, through: Settings, proxy: S3Proxy) -> None:
    rows = pa.table({"n": list(range(200_000)), "text": [f"text {n}" for n in range(200_000)]})
    uri = f"s3://{through.s3_bucket}/table"
    for _ in range(3):
        write_deltalake(uri, rows, mode="append", storage_options=storage_options(through))
    assert DeltaTable(uri, storage_options=storage_options(lake_settings)).version() == 2
    with duck.connect(through) as connection:
        found = connection.execute(f"select count(*), sum(n) from delta_scan('{uri}')").fetchone()
    assert found == (600_000, 3 * sum(range(200_000)))
    body = bytes(range(256)) * 4096 * 24  # more than one part of a multipart upload, in chunks, asked for first
    path = f"{through.s3_bucket}/large"
    with files(through).open(path, "wb") as target:
        target.write(body)
    assert files(lake_settings).cat(path) == body == files(through).cat(path)
    assert not files(through).exists(f"{through.s3_bucket}/nothing")
    Store(through).check_conditional_put()
    assert set(proxy.done) == {"passed"}
    assert proxy.done["passed"] > 20


def test_a_connection_is_kept_and_a_head_has_no_body(through: Settings) -> None:
    put, head = Call(through, "PUT", "kept"), Call(through, "HEAD", "kept")
    assert put(b"x" * 1000)[0] == 200
    first = put.connection.sock
    assert put(b"y" * 2000)[0] == 200
    assert put.connection.sock is first
    assert [head() for _ in range(3)] == [(200, b"")] * 3


@pytest.mark.parametrize("kind", ["500", "503", "429"])
def test_an_error_is_answered_and_the_store_sees_nothing(
    lake_settings: Settings, through: Settings, proxy: S3Proxy, kind: str
) -> None:
    proxy.faults = Faults({kind: 1.0}, match="PUT .*refused")
    call = Call(through, "PUT", "refused")
    status, text = call(b"x" * 300_000)
    assert status == int(kind)
    assert b"<Code>" in text
    assert Call(through, "PUT", "another")(b"x")[0] == 200, "which does not match"
    assert not files(lake_settings).exists(call.path)
    proxy.faults = replace(proxy.faults, match="GET /")
    assert call(b"again")[0] == 200, "on the same connection"
    assert proxy.done == {kind: 1, "passed": 2}


@pytest.mark.parametrize(("kind", "stored"), [("reset", False), ("torn", False), ("lost", True)])
def test_a_connection_is_reset_before_within_or_after(
    lake_settings: Settings, through: Settings, proxy: S3Proxy, kind: str, stored: bool
) -> None:
    proxy.faults = Faults({kind: 1.0})
    call = Call(through, "PUT", kind)
    with pytest.raises(GONE):
        call(b"x" * 500_000)
    pause(0.3)
    assert files(lake_settings).exists(call.path) is stored
    if stored:
        assert files(lake_settings).cat(call.path) == b"x" * 500_000
    assert proxy.done == {kind: 1}


def test_a_stalled_request_is_done_late_also_when_nobody_waits_any_more(
    lake_settings: Settings, through: Settings, proxy: S3Proxy
) -> None:
    proxy.faults = Faults({"stall": 1.0}, stall_s=1.0)
    started = time.monotonic()
    assert Call(through, "PUT", "late")(b"late")[0] == 200
    assert time.monotonic() - started >= 1.0
    proxy.faults = Faults({"stall": 1.0}, stall_s=5.0)
    given_up = Call(through, "PUT", "given-up")
    with pytest.raises(TimeoutError):
        given_up(b"late", timeout=0.3)
    given_up.connection.close()
    store = files(lake_settings)
    assert not store.exists(given_up.path)
    wait_for(lambda: store.exists(given_up.path))
    assert store.cat(given_up.path) == b"late"


def test_latency_is_added_to_each_request(through: Settings, proxy: S3Proxy) -> None:
    call = Call(through, "PUT", "slow")
    proxy.faults = Faults(latency_s=0.1)
    started = time.monotonic()
    for _ in range(5):
        assert call(b"x")[0] == 200
    assert 0.5 <= time.monotonic() - started < 2.5


def test_the_same_seed_draws_the_same_faults(lake_settings: Settings, through: Settings) -> None:
    runs = []
    for seed in (3, 3, 4):
        with S3Proxy(lake_settings.s3_endpoint, Faults({"500": 0.3, "503": 0.2}), seed=seed) as proxy:
            call = Call(through.model_copy(update={"s3_endpoint": proxy.url}), "GET", "nothing")
            runs.append([call()[0] for _ in range(40)])
    assert runs[0] == runs[1] != runs[2]
    assert {500, 503, 404} == set(runs[0])


def test_a_retry_does_not_show_what_the_store_did(lake_settings: Settings, through: Settings, proxy: S3Proxy) -> None:
    proxy.faults = Faults({"unsure": 1.0}, away_s=10.0)
    with pytest.raises(GONE):
        Call(through, "PUT", "unsure")(b"first")
    proxy.faults = Faults()
    assert Call(through, "PUT", "unsure")(b"second")[0] == 500
    assert Call(through, "PUT", "another")(b"at once")[0] == 200
    assert Call(through, "GET", "unsure")() == (200, b"first"), "a reader sees it"
    wait_for(lambda: Call(through, "PUT", "unsure")(b"third")[0] == 200, every=1)
    assert proxy.done["500"] > 1


def test_every_kind_of_fault_is_tested_here() -> None:
    assert set(KINDS) == {"500", "503", "429", "reset", "torn", "lost", "unsure", "stall"}
    with pytest.raises(ValueError, match="no such faults"):
        Faults({"fire": 1.0})


def echo(server: socket.socket) -> None:
    """Send back what each client sends, one client after the other."""
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            with client, suppress(OSError):
                while data := client.recv(4096):
                    client.sendall(data)


def test_a_tcp_proxy_cuts_refuses_and_delays() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=echo, args=(server,), daemon=True).start()
    with TcpProxy(("127.0.0.1", server.getsockname()[1])) as proxy, server:

        def dialled() -> socket.socket:
            return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)

        with dialled() as sock:
            sock.sendall(b"hello")
            assert sock.recv(10) == b"hello"
            proxy.cut(refuse=True)
            with pytest.raises(ConnectionResetError):
                sock.recv(10)
        with pytest.raises(ConnectionResetError), dialled() as sock:  # at once, or by the first read
            sock.recv(10)
        proxy.heal()
        proxy.delay_s = 0.2
        with dialled() as sock:
            started = time.monotonic()
            sock.sendall(b"hello")
            assert sock.recv(10) == b"hello"
            assert time.monotonic() - started >= 0.4  # there and back
