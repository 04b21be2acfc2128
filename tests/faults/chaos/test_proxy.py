"""The proxy itself: all three S3 clients work through it, and each fault is what it says, seen from both sides."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
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
from tests.support.waiting import wait_for

GONE = (ConnectionResetError, http.client.RemoteDisconnected, BrokenPipeError)


CALLS: list[Call] = []


@pytest.fixture(autouse=True)
def hung_up() -> Iterator[None]:
    yield
    while CALLS:
        CALLS.pop().connection.close()


@pytest.fixture
def proxy(lake_settings: Settings) -> Iterator[S3Proxy]:
    assert lake_settings.s3_endpoint
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
        CALLS.append(self)

    def __call__(self, body: bytes | None = None, *, timeout: float = 20) -> tuple[int, bytes]:
        self.connection.timeout = timeout
        self.connection.request(self.method, self.target, body)
        answer = self.connection.getresponse()
        return answer.status, answer.read()


def test_the_lakes_clients_work_through_it(lake_settings: Settings, through: Settings, proxy: S3Proxy) -> None:
    rows = pa.table({"n": list(range(200_000)), "text": [f"text {n}" for n in range(200_000)]})
    uri = f"s3://{through.s3_bucket}/table"
    for _ in range(3):
        write_deltalake(uri, rows, mode="append", storage_options=storage_options(through))
    assert DeltaTable(uri, storage_options=storage_options(through)).to_pyarrow_table().num_rows == 600_000
    assert DeltaTable(uri, storage_options=storage_options(lake_settings)).version() == 2
    with duck.connect(through) as connection:
        found = connection.execute(f"select count(*), sum(n) from delta_scan('{uri}')").fetchone()
    assert found == (600_000, 3 * sum(range(200_000)))
    body = bytes(range(256)) * 4096 * 24  # more than one part of a multipart upload
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
    proxy.faults = Faults({kind: 1.0})
    call = Call(through, "PUT", "refused")
    status, text = call(b"x" * 300_000)
    assert status == int(kind)
    assert b"<Code>" in text
    assert not files(lake_settings).exists(call.path)
    proxy.faults = Faults()
    assert call(b"again")[0] == 200, "on the same connection"
    assert proxy.done == {kind: 1, "passed": 1}


@pytest.mark.parametrize(("kind", "stored"), [("reset", False), ("torn", False), ("lost", True)])
def test_a_connection_is_reset_before_within_or_after(
    lake_settings: Settings, through: Settings, proxy: S3Proxy, kind: str, stored: bool
) -> None:
    proxy.faults = Faults({kind: 1.0})
    call = Call(through, "PUT", kind)
    with pytest.raises(GONE):
        call(b"x" * 500_000)
    time.sleep(0.3)
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


def test_only_what_matches_goes_wrong(through: Settings, proxy: S3Proxy) -> None:
    proxy.faults = Faults({"500": 1.0}, match="_delta_log")
    assert Call(through, "PUT", "a/part.parquet")(b"x")[0] == 200
    assert Call(through, "PUT", "a/_delta_log/1.json")(b"x")[0] == 500
    proxy.faults = replace(proxy.faults, match="GET /")
    assert Call(through, "PUT", "a/_delta_log/1.json")(b"x")[0] == 200


def test_the_same_seed_draws_the_same_faults(lake_settings: Settings, through: Settings) -> None:
    assert lake_settings.s3_endpoint
    runs = []
    for seed in (3, 3, 4):
        with S3Proxy(lake_settings.s3_endpoint, Faults({"500": 0.3, "503": 0.2}), seed=seed) as proxy:
            call = Call(through.model_copy(update={"s3_endpoint": proxy.url}), "GET", "nothing")
            runs.append([call()[0] for _ in range(40)])
    assert runs[0] == runs[1] != runs[2]
    assert {500, 503, 404} == set(runs[0])


def test_a_body_may_be_chunked_and_asked_for_first(through: Settings, proxy: S3Proxy) -> None:
    """As aiobotocore sends it; the signature of a presigned URL leaves the body out."""
    call = Call(through, "PUT", "asked")
    for kind in (None, "503", "lost"):
        proxy.faults = Faults({kind: 1.0} if kind else {})
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as sock:
            head = (
                f"PUT {call.target} HTTP/1.1\r\nHost: {proxy.address}\r\nExpect: 100-continue\r\n"
                "Content-Length: 5\r\n\r\n"
            )
            sock.sendall(head.encode())
            answer = sock.recv(4096)
            if kind == "503":
                assert answer.startswith(b"HTTP/1.1 503")
                continue
            assert answer.startswith(b"HTTP/1.1 100")
            sock.sendall(b"hello")
            if kind == "lost":
                with pytest.raises(ConnectionResetError):
                    sock.recv(4096)
            else:
                assert sock.recv(4096).startswith(b"HTTP/1.1 200")
    proxy.faults = Faults()
    call.connection.request("PUT", call.target, iter([b"one", b"two" * 40_000, b""]), encode_chunked=True,
                            headers={"Transfer-Encoding": "chunked"})  # fmt: skip
    got_by = call.connection.getresponse()
    got_by.read()
    status, got = Call(through, "GET", "asked")()
    assert (status, got) == (200, b"one" + b"two" * 40_000) if got_by.status == 200 else got_by.status == 411


def test_who_tries_again_does_not_learn_what_became_of_it(
    lake_settings: Settings, through: Settings, proxy: S3Proxy
) -> None:
    proxy.faults = Faults({"unsure": 1.0}, away_s=10.0)
    with pytest.raises(GONE):
        Call(through, "PUT", "unsure")(b"first")
    proxy.faults = Faults()
    assert Call(through, "PUT", "unsure")(b"second")[0] == 500
    assert Call(through, "PUT", "another")(b"at once")[0] == 200
    assert Call(through, "GET", "unsure")() == (200, b"first"), "who looks sees it"
    answers: list[int] = []

    def taken() -> bool:
        answers.append(Call(through, "PUT", "unsure")(b"third")[0])
        return answers[-1] == 200

    wait_for(taken, every=1)
    assert set(answers[:-1]) <= {500}
    assert proxy.done == {"unsure": 1, "500": len(answers), "passed": 3}  # the second's and all but the last of these


def test_every_kind_of_fault_is_tested_here() -> None:
    assert set(KINDS) == {"500", "503", "429", "reset", "torn", "lost", "unsure", "stall"}
    with pytest.raises(ValueError, match="no such faults"):
        Faults({"fire": 1.0})


def test_a_tcp_proxy_cuts_refuses_and_delays() -> None:
    server = socket.create_server(("127.0.0.1", 0))

    def echo() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=_echoing, args=(client,), daemon=True).start()

    threading.Thread(target=echo, daemon=True).start()
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


def _echoing(client: socket.socket) -> None:
    with client:
        while data := _received(client):
            client.sendall(data)


def _received(client: socket.socket) -> bytes:
    try:
        return client.recv(4096)
    except ConnectionResetError:
        return b""
