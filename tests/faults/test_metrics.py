"""A writer at work tells what it does: its metrics are compared with what was sent."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from pathlib import Path
from threading import Thread

from playlake import events
from playlake.broker import Producer
from tests.support.commands import Cli, end
from tests.support.lakes import assert_whole
from tests.support.scraping import Samples, free_port, scrape
from tests.support.waiting import wait_for


def by_topic(samples: Samples, name: str, topic: str = events.PLAYS) -> float:
    return sum(value for (n, labels), value in samples.items() if n == name and dict(labels).get("topic") == topic)


def body(number: int) -> bytes:
    fields = {
        "event_id": f"m-{number}",
        "user_id": "u",
        "event_type": "play",
        "track_id": "t",
        "track_name": "n",
        "artist_name": "a",
        "album_name": None,
        "duration_ms": 1,
        "played_at": "2025-01-01T10:00:00Z",
        "device_type": None,
    }
    return json.dumps(fields).encode()


def _place(partition: int) -> tuple[tuple[str, str], ...]:
    return (("partition", str(partition)), ("topic", events.PLAYS))


class Way:
    """A way to a server that can be cut: every connection ends, and none is made."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.pairs: list[socket.socket] = []
        self.is_cut = False
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self.listening.accept()
            except OSError:
                return
            if self.is_cut:
                here.close()
                continue
            there = socket.create_connection(self.target)
            self.pairs += [here, there]
            for a, b in ((here, there), (there, here)):
                Thread(target=self._carry, args=(a, b), daemon=True).start()

    def _carry(self, a: socket.socket, b: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                b.sendall(data)
        for end_ in (a, b):
            with contextlib.suppress(OSError):
                end_.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        self.is_cut = True
        for one in self.pairs:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self.is_cut = False

    def close(self) -> None:
        self.cut()
        for one in (self.listening, *self.pairs):
            one.close()


def by_way_of(cli: Cli, way: Way, **settings: object) -> Cli:
    """The same servers as if they were others' (whose broker needs no store of ours), the store by way of ``way``."""
    own = cli.settings()
    secrets = {n: getattr(own, n).get_secret_value() for n in ("s3_access_key", "s3_secret_key", "redis_url")}
    endpoint = f"http://127.0.0.1:{way.port}"
    bootstrap = own.kafka_bootstrap
    return Cli(
        cli.home.parent / "other",
        profile="containers",
        kafka_bootstrap=bootstrap,
        s3_endpoint=endpoint,
        **secrets,
        **settings,
    )


def test_a_store_that_is_away_shows(cli: Cli) -> None:
    port = free_port()
    host, _, number = str(cli.settings().s3_endpoint).removeprefix("http://").partition(":")
    way = Way(host, int(number))
    process = by_way_of(cli, way, metrics_port=port, flush_seconds=5).start("land")
    wait_for(lambda: ("lag_messages", _place(0)) in scrape(port))
    with Producer(cli.settings()) as producer:
        producer.send(events.PLAYS, "k", body(1000))
    wait_for(lambda: scrape(port)[("buffered_rows", ())] == 1)
    way.cut()
    failed = wait_for(lambda: (s := scrape(port)) and by_topic(s, "failures_total") and s, seconds=180)
    assert by_topic(failed, "lag_messages") == 1
    assert failed[("oldest_unflushed_seconds", ())] > 4, "the row was dropped, to be read again: it is no younger"
    assert by_topic(failed, "written_rows_total") == 0
    way.mend()
    landed = wait_for(lambda: (s := scrape(port)) and by_topic(s, "written_rows_total") == 1 and s, seconds=180)
    assert by_topic(landed, "dead_letters_total") == 0
    assert wait_for(lambda: (s := scrape(port)) and by_topic(s, "lag_messages") == 0 and s)
    assert scrape(port)[("oldest_unflushed_seconds", ())] == 0
    assert end(process, signal.SIGTERM).code == 0
    way.close()
    assert_whole(cli)


def test_a_broker_that_is_away_shows_and_the_end_says_what_it_leaves(tmp_path: Path) -> None:
    """After a session's time the group is lost and what is buffered dropped, which was a writer with nothing to do."""
    cli, port = Cli(tmp_path / "home", flush_seconds=60), free_port()
    cli("up")
    try:
        process = Cli(cli.home, flush_seconds=60, metrics_port=port).start("land")
        wait_for(lambda: ("lag_messages", _place(0)) in scrape(port))
        with Producer(cli.settings()) as producer:
            for number in range(5):
                producer.send(events.PLAYS, "k", body(number))
        wait_for(lambda: scrape(port)[("buffered_rows", ())] == 5)
        cli.kill("broker")
        lost = wait_for(lambda: (s := scrape(port)) and s[("buffered_rows", ())] == 0 and s)
        time.sleep(2)  # the next look, too
        still = scrape(port)
        assert lost.keys() <= still.keys()
        assert by_topic(still, "lag_messages") == 5
        assert still[("oldest_unflushed_seconds", ())] > 4, "it is no younger"
        assert by_topic(still, "failures_total") >= 1
        ended = end(process, signal.SIGTERM)
        assert ended.code == 1
        *before, last = ended.err.splitlines()
        assert "still in Kafka" in last
        assert "brokers are down" not in ended.err
        assert not any("run this again" in line for line in before), "it tries again by itself"
        assert not any(name.endswith("_created") for name, _ in still)
        cli("up")
        cli("land", "--until-idle")
        assert assert_whole(cli)["pending"] == 0
    finally:
        cli("down")
