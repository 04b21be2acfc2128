"""Retention on the embedded broker where reading starves, and where the broker writes all the time."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from playlake import broker, events
from playlake.broker import TopicPartition, consume
from playlake.stack import retention
from tests.path.test_retention import FOLDER, KEPT, produce
from tests.support.commands import Cli
from tests.support.lakes import assert_whole
from tests.support.waiting import wait_for


@pytest.fixture
def cli(own: Cli) -> Cli:
    """A stack of its own: what a test finds in the log is what it has produced."""
    return own


def test_a_log_to_which_is_written_all_the_time_is_trimmed_in_a_lull(cli: Cli) -> None:
    settings = cli.settings().model_copy(update={"embedded_log_batches": KEPT})
    produce(settings, 3 * KEPT)
    cli("land", "--until-idle")
    store, key, refused = retention.log_store(settings), f"{FOLDER}watermark.json", 0
    real = store.changed

    def after_the_broker(key: str, change: Callable[[bytes], bytes | None]) -> bool:
        """The broker writes between our look and our write, the first fifty times."""
        nonlocal refused

        def late(body: bytes) -> bytes | None:
            if refused < 50:
                store.write(key, body + b" ")  # another ETag
            return change(body)

        done = real(key, late)
        refused += not done
        return done

    store.changed = after_the_broker  # type: ignore[method-assign]
    assert retention.trim(settings, store) > 0
    assert refused == 50
    assert json.loads(store.read(key))["low"] > 0
    assert_whole(cli)


def test_who_gets_hardly_anything_of_a_long_log_asks_more_patiently(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tansu ends a fetch after a time, with what it has found by then: here the time is short, not the log long."""
    settings = cli.settings()
    with broker.Admin(settings) as admin:
        admin.ensure((events.PLAYS,))
    produce(settings, 800)
    monkeypatch.setitem(consume.FETCHING, "fetch.wait.max.ms", 1)
    read: list[int] = []

    def from_the_start(partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        read.clear()
        return dict.fromkeys(partitions, 0)

    consumer = broker.Consumer(
        settings, [events.PLAYS], group="starved", on_assign=from_the_start, on_revoke=lambda _partitions: None
    )

    def all_read() -> bool:
        for run in consumer.poll(1000, 0.2).runs:
            read.extend(run.offsets)
        return len(read) >= 800

    wait_for(all_read, 120, every=0)
    assert consumer._patient, "it was not starved"
    assert read == list(range(800))
    consumer.close()
