"""The lake writer as a process: modes and signals, several of it, a store that hangs, a topic made anew, new fields."""

from __future__ import annotations

import itertools
import json
import signal
import time
import uuid
from typing import Any

import confluent_kafka as ck
import pytest
from deltalake import DeltaTable
from kafka import KafkaAdminClient

from playlake import events
from playlake.broker import Admin, Producer, TopicPartition
from playlake.errors import UnavailableError
from playlake.lake import tables
from playlake.lake.core import Batch, Core, Limits
from playlake.lake.deliver import FencedError
from playlake.lake.landing import Landing, TopicMadeAnewError
from playlake.lake.options import storage_options
from playlake.lake.store import Store
from playlake.lake.writer import _FENCED_SECONDS, Writer
from playlake.records import Run
from tests.support.commands import Cli, end
from tests.support.lakes import assert_whole, bronze_ids
from tests.support.messages import landed, play, send
from tests.support.scraping import free_port, scrape
from tests.support.waiting import wait_for
from tests.support.writers import running_writer


def test_sigterm_lands_what_is_buffered(cli: Cli) -> None:
    port = free_port()
    patient = cli.with_settings(flush_seconds=3600, flush_rows=10**6, metrics_port=port)
    with patient.start("land", "--json") as writer:
        ids = send(cli, *(play() for _ in range(20)))
        wait_for(lambda: scrape(port).get(("buffered_rows", ()), 0) >= 20, 120)  # read, and held for an hour
        assert not landed(cli, ids)
        done = end(writer, signal.SIGTERM, timeout=60)
    assert done.code == 0, done.err
    assert done.err.count("ending: ") == 1
    assert done.json["rows"]["user_plays"] >= 20
    assert landed(cli, ids)


def test_what_a_fence_has_dropped_is_landed_before_the_end(own: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another writer has moved one partition on: what was read of the other one was dropped, and the end said 0."""
    producer = ck.Producer({"bootstrap.servers": own.settings().kafka_bootstrap})
    plays = [play(), play()]
    with Admin(own.settings()) as admin:
        admin.ensure(events.TOPICS)
    for partition, one in enumerate(plays):
        producer.produce(events.PLAYS, json.dumps(one).encode(), partition=partition)
    producer.flush()
    real = Landing.flush

    def flush(landing: Landing, batch: Batch) -> Any:
        if not writer._stop:
            wait_for(lambda: [writer._core.reading().get((events.PLAYS, p)) for p in (0, 1)] == [1, 1], 90)
            number = next(iter(batch.following))
            other, core = Landing(own.settings()), Core(Limits(1, 1, 1, 1))
            other.prepare()
            core.assign(other.locate([(events.PLAYS, number)], {}))
            body = json.dumps(plays[number]).encode()
            core.add([Run.of(events.PLAYS, number, [0], [int(time.time() * 1000)], [None], [body])], 0)
            real(other, core.take(events.PLAYS))
            other.close()
            writer.stop()
        return real(landing, batch)

    monkeypatch.setattr(Landing, "flush", flush)
    writer = Writer(own.settings().model_copy(update={"flush_seconds": 1}), group=f"fenced-{uuid.uuid4().hex}")
    assert writer.run().fenced == 1
    assert sorted(bronze_ids(own)) == sorted(one["event_id"] for one in plays)
    assert_whole(own)


def test_a_topic_made_anew_starts_over(own: Cli) -> None:
    """With the writer at rest: librdkafka 2.16 crashes when a topic is made anew under it on Tansu (docs/lake.md)."""
    before = send(own, *(play() for _ in range(30)))
    own("land", "--until-idle")
    admin = KafkaAdminClient(bootstrap_servers=own.settings().kafka_bootstrap)
    admin.delete_topics([events.PLAYS])
    admin.close()
    after = send(own, *(play() for _ in range(10)))  # fewer: the offsets of before are past its end
    done = own("land", "--until-idle")
    assert "made anew" in done.err
    report = assert_whole(own)
    former = [p for p in report["partitions"] if "former" in p["topic"]]
    assert sum(p["in_bronze"] for p in former) == 30
    assert landed(own, [*before, *after]), "what landed before stays"


def test_a_new_field_becomes_a_column_without_a_restart(own: Cli) -> None:
    settings = own.settings()
    with running_writer(settings.model_copy(update={"flush_seconds": 1})) as counts:
        old = send(own, *(play() for _ in range(5)))
        wait_for(lambda: counts.rows[events.PLAYS] == 5)
        new = send(own, play(mood="calm", bpm=120), play(mood="wild", tags=["a"]))
        wait_for(lambda: counts.rows[events.PLAYS] == 7)
        other = send(own, play(mood=7, bpm=99.5), play(mood="still"))
        wait_for(lambda: counts.rows[events.PLAYS] == 9)
    table = DeltaTable(f"s3://{settings.s3_bucket}/bronze/plays", storage_options=storage_options(settings))
    rows = {r["event_id"]: r for r in table.to_pyarrow_table(columns=["event_id", "mood", "bpm", "extra"]).to_pylist()}
    assert {rows[i]["mood"] for i in old} == {None}
    assert [(rows[i]["mood"], rows[i]["bpm"], rows[i]["extra"]) for i in new] == [
        ("calm", 120, None),
        ("wild", None, '{"tags":["a"]}'),
    ]
    assert [(rows[i]["mood"], rows[i]["bpm"], rows[i]["extra"]) for i in other] == [
        (None, 99.5, '{"mood":7}'),
        ("still", None, None),
    ]
    assert counts.dead_letters == 0
    assert_whole(own)


def test_bronze_that_was_set_back_is_landed_again_and_dead_letters_stay(own: Cli) -> None:
    """Dead letters have then counted burials of which bronze knows nothing: the writer looked again for ever."""
    good, bad = play(), play(played_at="never")
    ids = send(own, good, bad, good | {"event_id": "another"})
    assert own.json("land", "--until-idle")["dead_letters"] == 1
    store = Store(own.settings())
    store.delete_all(store.keys(tables.FOLDERS[events.PLAYS]))
    again = own.json("land", "--until-idle")
    assert (again["rows"][events.PLAYS], again["dead_letters"]) == (2, 0)
    assert sorted(bronze_ids(own)) == sorted([ids[0], "another"])
    assert_whole(own)


def test_a_writer_that_never_gets_to_look_ends_all_the_same(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def locate(*_: Any) -> None:
        looks.append(writer._clock())
        if len(looks) == 4:
            writer.stop()
        raise FencedError("another writer is always there")

    monkeypatch.setattr(Landing, "locate", locate)
    writer = Writer(cli.settings(), group=f"never-{uuid.uuid4().hex}")
    writer.run()
    pauses = [later - sooner for sooner, later in itertools.pairwise(looks[:4])]
    assert min(pauses) >= _FENCED_SECONDS, "not as often as it can"


def test_an_end_that_is_always_fenced_flushes_the_rows_of_another_topic(
    own: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looked again and again for the fenced topic's positions, and never came to flush the other one."""
    send(own, play())
    with Producer(own.settings()) as producer:
        producer.send(events.SKIPS, "someone", b"no event")
    locate, flush = Landing.locate, Landing.flush
    flushed: list[str] = []

    def fenced(landing: Landing, *given: Any) -> Any:
        if writer._stop:
            raise FencedError("another writer is always there")
        return locate(landing, *given)

    def first_gone(landing: Landing, batch: Batch) -> Any:
        if writer._stop:
            flushed.append(batch.topic)
            return flush(landing, batch)
        wait_for(lambda: writer._core.buffered)  # rows of the other topic
        writer.stop()
        raise TopicMadeAnewError(batch.topic)

    monkeypatch.setattr(Landing, "locate", fenced)
    monkeypatch.setattr(Landing, "flush", first_gone)
    writer = Writer(own.settings().model_copy(update={"flush_seconds": 1}), group=f"fenced-{uuid.uuid4().hex}")
    writer.run()
    assert len(flushed) == 1
    assert writer.landed.flushes == 1


def test_an_end_that_can_not_look_and_has_rows_of_another_topic_ends(own: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """It went on looking until the store was back, and did not flush what was buffered."""
    send(own, play())
    with Producer(own.settings()) as producer:
        producer.send(events.SKIPS, "someone", b"no event")
    real = Landing.locate

    def flush(_: Landing, batch: Batch) -> None:
        if writer._stop:
            raise UnavailableError("The store is away.")
        wait_for(lambda: writer._core.buffered)  # rows of the other topic
        writer.stop()
        raise TopicMadeAnewError(batch.topic)

    def locate(landing: Landing, *given: Any) -> Any:
        if writer._stop:
            raise UnavailableError("The store is away.")
        return real(landing, *given)

    monkeypatch.setattr(Landing, "flush", flush)
    monkeypatch.setattr(Landing, "locate", locate)
    writer = Writer(own.settings().model_copy(update={"flush_seconds": 1}), group=f"away-{uuid.uuid4().hex}")
    with pytest.raises(UnavailableError, match=r"The store is away\. What was read .* is still in Kafka"):
        writer.run()


def test_a_rebalance_while_the_writer_leaves_is_let_pass(cli: Cli) -> None:
    """Closing the consumer may still assign partitions, when there is nobody left to look them up."""
    writer = Writer(cli.settings(), group=f"leaving-{uuid.uuid4().hex}")
    writer.run(until_idle=True)
    assert writer._assigned([TopicPartition(events.PLAYS, 0)]) == {}
    writer._revoked([TopicPartition(events.PLAYS, 0)])


def test_a_writer_ends_by_itself_after_some_time(cli: Cli) -> None:
    cli.run("land", "--for", "1s")  # its exit code is checked there
