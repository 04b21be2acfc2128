"""The lake writer as a process: modes and signals, several of it, a store that hangs, a topic made anew, new fields."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import pytest
from deltalake import DeltaTable
from kafka import KafkaAdminClient

from playlake import events
from playlake.broker import Admin, Consumer, Producer, TopicPartition
from playlake.errors import UnavailableError
from playlake.lake import tables
from playlake.lake.core import Batch, Core, Limits
from playlake.lake.deliver import FencedError
from playlake.lake.landing import Landing, TopicMadeAnewError
from playlake.lake.options import storage_options
from playlake.lake.store import Store
from playlake.lake.table import WriteFailedError
from playlake.lake.writer import Writer
from playlake.records import Run
from tests.chaos.proxy import Faults, S3Proxy
from tests.scraping import free_port, scrape
from tests.support import Cli, addressed, assert_whole, bronze_ids, end, lands, wait_for


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Cli]:
    """A stack that only one test uses, as it does to it what others would not like."""
    made = Cli(tmp_path / "home", flush_seconds=1)
    made("up")
    made("land", "--until-idle")  # makes the tables
    yield made
    made("down")


def play(**fields: Any) -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()),
        "user_id": "ada",
        "event_type": "play",
        "track_id": "t",
        "track_name": "Song",
        "artist_name": "Band",
        "album_name": None,
        "duration_ms": 1,
        "played_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "device_type": None,
        **fields,
    }


def send(cli: Cli, *plays: dict[str, Any]) -> list[str]:
    """Produce these; their ids."""
    with Admin(cli.settings()) as admin:
        admin.ensure(events.TOPICS)
    with Producer(cli.settings()) as producer:
        for one in plays:
            producer.send(events.PLAYS, one["user_id"], json.dumps(one).encode())
    return [one["event_id"] for one in plays]


def landed(cli: Cli, ids: list[str]) -> bool:
    return set(ids) <= set(bronze_ids(cli))


def test_sigterm_lands_what_is_buffered(cli: Cli) -> None:
    port = free_port()
    patient = Cli(cli.home, flush_seconds=3600, flush_rows=10**6, metrics_port=port)
    with patient.start("land", "--json") as writer:
        ids = send(cli, *(play() for _ in range(20)))
        wait_for(lambda: scrape(port).get(("buffered_rows", ()), 0) >= 20, 120)  # read, and held for an hour
        assert not landed(cli, ids)
        done = end(writer, signal.SIGTERM, timeout=60)
    assert done.code == 0, done.err
    assert done.err.count("ending: ") == 1
    assert done.json["rows"]["user_plays"] >= 20
    assert landed(cli, ids)


@contextmanager
def between(own: Cli) -> Iterator[tuple[S3Proxy, Cli]]:
    """A proxy in front of a stack's store, and a command that has it for its store and flushes each second."""
    with S3Proxy(own.settings().s3_endpoint) as store:
        through = Cli(own.home)
        through.env |= addressed(own.settings(), s3_endpoint=store.url).environment()
        through.env["PLAYLAKE_FLUSH_SECONDS"] = "1"
        yield store, through


def test_ctrl_c_twice_waits_for_no_store(own: Cli) -> None:
    with between(own) as (store, through), through.start("land", "--json") as writer:
        before = send(own, play())
        wait_for(lambda: landed(own, before), 90, every=1)
        store.faults = Faults({"stall": 1.0}, stall_s=600, match="PUT")
        ids = send(own, *(play() for _ in range(20)))
        wait_for(lambda: store.done["stall"])
        assert writer.stderr is not None
        writer.send_signal(signal.SIGINT)
        assert any("Ctrl-C once more" in line for line in writer.stderr)
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(3)
        done = end(writer, signal.SIGINT, timeout=10)
    assert done.code == 130
    assert json.loads(done.out)["error"].startswith("Interrupted."), done.out
    own("land", "--until-idle")
    assert_whole(own)
    assert landed(own, ids)


def goes_wrong(writer: subprocess.Popen[str]) -> None:
    """Wait until a flush has failed, and what was read was dropped."""
    assert writer.stderr is not None
    for line in writer.stderr:
        if "nothing can be landed now" in line:
            return
    raise AssertionError("it has ended")


@pytest.mark.parametrize("mended", ["before", "meanwhile", "never"])
def test_what_a_failed_flush_has_dropped_is_landed_before_the_end_or_said(own: Cli, mended: str) -> None:
    """It ended with 0 and without a word: what it had read was no longer buffered, and not landed either.

    Later it ended with 1 at the first read that failed, of the 20 s in which it may read once more.
    """
    with between(own) as (store, through), through.start("land", "--json") as writer:
        before = send(own, play())
        wait_for(lambda: landed(own, before), 90, every=1)
        store.faults = Faults({"500": 1.0})
        ids = send(own, *(play() for _ in range(20)))
        goes_wrong(writer)
        if mended == "before":
            store.faults = Faults()
        writer.send_signal(signal.SIGTERM)
        if mended == "meanwhile":
            goes_wrong(writer)
            store.faults = Faults()
        out, err = writer.communicate(timeout=60)
    assert landed(own, ids) == (mended != "never")
    assert writer.returncode == (1 if mended == "never" else 0), err
    assert mended != "never" or "still in Kafka" in json.loads(out)["error"]
    own("land", "--until-idle")
    assert_whole(own)
    assert landed(own, ids)


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


def test_sigterm_while_it_starts_ends_it_well(cli: Cli) -> None:
    telling = Cli(cli.home)
    telling.env["PYTHONPROFILEIMPORTTIME"] = "1"  # Python tells what it has imported: these are the writer's imports
    with telling.start("land", "--json") as writer:
        assert writer.stderr is not None
        assert any(line.endswith("pyarrow.lib\n") for line in writer.stderr)
        done = end(writer, signal.SIGTERM, timeout=60)
    assert "joining" in done.err
    assert done.code == 0, done.err[-2000:]


def test_for_some_time(cli: Cli) -> None:
    ids = send(cli, play())
    for seconds in (8, 40):  # on a busy machine eight may be over before the group has formed
        started = time.monotonic()
        done = cli("land", "--for", f"{seconds}s", "--json")
        assert seconds <= time.monotonic() - started < seconds + 22
        if done.json["rows"]["user_plays"]:
            break
    assert done.json["rows"]["user_plays"] >= 1
    assert landed(cli, ids)


def test_writers_come_and_go_while_events_flow(cli: Cli) -> None:
    eager = Cli(cli.home, flush_seconds=1)
    feed = cli.start("simulate", "--rate", "200", "--json")
    writers = [eager.start("land", "--json")]
    assert lands(writers[0])
    writers += [eager.start("land", "--json") for _ in range(2)]
    assert all(map(lands, writers[1:]))
    ended = [end(writers.pop(0), signal.SIGTERM, timeout=60)]
    time.sleep(3)
    writers[0].kill()
    writers.pop(0).communicate()
    time.sleep(8)  # the session of the one that was killed runs out, the last one takes over
    sent = end(feed, timeout=120)
    assert sent.code == 0, sent.err
    ended.append(end(writers.pop(), signal.SIGTERM, timeout=60))
    assert [done.code for done in ended] == [0, 0], [done.err for done in ended]
    cli("land", "--until-idle")
    assert_whole(cli)
    assert sent.json["produced"] > 2000


def test_a_writer_stopped_while_it_joins_keeps_no_other_out(cli: Cli) -> None:
    ids = send(cli, play())
    hasty = cli.start("land", "--json")
    assert hasty.stderr is not None
    assert any("joining" in line for line in hasty.stderr)
    time.sleep(1)
    assert end(hasty).code == 0
    cli("land", "--until-idle")
    assert landed(cli, ids)


def test_a_writer_that_was_frozen_owes_nothing_that_another_has_landed(own: Cli) -> None:
    def placed(port: int) -> bool:
        return any(name == "lag_messages" for name, _ in scrape(port))

    port, of_other = free_port(), free_port()
    frozen = Cli(own.home, flush_seconds=600, metrics_port=port).start("land")
    wait_for(lambda: placed(port))
    ids = send(own, play(), play(), play())
    wait_for(lambda: scrape(port)[("buffered_rows", ())] == 3)
    frozen.send_signal(signal.SIGSTOP)
    try:
        own("land", "--until-idle")
        assert landed(own, ids)
        other = Cli(own.home, metrics_port=of_other).start("land")  # keeps what the frozen one had
        wait_for(lambda: placed(of_other))
    finally:
        frozen.send_signal(signal.SIGCONT)
    wait_for(lambda: scrape(port).get(("buffered_rows", ())) == 0)
    assert end(frozen, signal.SIGTERM).code == 0
    assert end(other, signal.SIGTERM).code == 0
    assert_whole(own)


def test_a_broker_that_stands_still_keeps_nobody_from_leaving(own: Cli) -> None:
    """librdkafka waits for the answer to each commit of offsets, for longer than two minutes."""
    given: dict[TopicPartition, int] = {}

    def assigned(partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        given.update(dict.fromkeys(partitions, 0))
        return given

    consumer = Consumer(
        own.settings(), events.TOPICS, group="leaving", on_assign=assigned, on_revoke=lambda _partitions: None
    )
    wait_for(lambda: (consumer.poll(1, 0.5), dict(given))[1])
    leaving = threading.Thread(target=consumer.close, daemon=True)
    broker, notes = own.pid("broker"), own.home / "members"
    os.kill(broker, signal.SIGSTOP)
    try:
        consumer.commit_hint(given)
        leaving.start()
        leaving.join(30)
        assert not leaving.is_alive()
        assert list(notes.glob("*.json")), "the next writer leaves for it"
    finally:
        os.kill(broker, signal.SIGCONT)
    wait_for(lambda: not list(notes.glob("*.json")))


def test_a_writer_for_which_no_partition_is_left_ends(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home", flush_seconds=1, kafka_partitions=1)
    cli("up")
    ids = send(cli, play())
    first = cli.start("land")
    assert lands(first)
    cli("land", "--until-idle")  # one of the two has it all now, whichever it is
    assert landed(cli, ids)
    assert end(first, signal.SIGTERM).code == 0
    cli("down")


def test_a_store_that_hangs_does_not_cost_the_membership(own: Cli) -> None:
    """Uploads are not on the polling thread: the group's session is 6 s, the store hangs for 20.

    It hangs for the writer only. The broker has the same store under it, and what hangs there is no fault of a writer.
    """
    with between(own) as (store, through):
        writer = through.start("land", "--json")
        first = send(own, play())
        wait_for(lambda: landed(own, first), every=1)
        store.faults = Faults({"stall": 1.0}, stall_s=20.0)
        ids = send(own, *(play() for _ in range(500)))
        wait_for(lambda: store.done["stall"])
        store.faults = Faults()
        time.sleep(20)
        wait_for(lambda: landed(own, ids), 90, every=1)
        done = end(writer, signal.SIGTERM)
    assert done.code == 0, done.err
    assert done.json["assignments"] == 1, f"it fell out of the group:\n{done.err}"
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
    assert "made anew" not in own("land", "--until-idle").err, "told once"


def test_a_new_field_becomes_a_column_without_a_restart(own: Cli) -> None:
    writer = own.start("land", "--json")
    old = send(own, *(play() for _ in range(5)))
    wait_for(lambda: landed(own, old), 90, every=1)
    new = send(own, play(mood="calm", bpm=120), play(mood="wild", tags=["a"]))
    wait_for(lambda: landed(own, new), every=1)
    wrong = send(own, play(mood=7), play(mood="still"))
    wait_for(lambda: landed(own, wrong[1:]), every=1)
    done = end(writer, signal.SIGTERM)
    assert (done.code, done.json["dead_letters"]) == (0, 1), done.err
    settings = own.settings()
    table = DeltaTable(f"s3://{settings.s3_bucket}/bronze/plays", storage_options=storage_options(settings))
    rows = {r["event_id"]: r for r in table.to_pyarrow_table(columns=["event_id", "mood", "bpm", "extra"]).to_pylist()}
    assert {rows[i]["mood"] for i in old} == {None}
    assert [(rows[i]["mood"], rows[i]["bpm"], rows[i]["extra"]) for i in new] == [
        ("calm", 120, None),
        ("wild", None, '{"tags":["a"]}'),
    ]
    assert rows[wrong[1]]["mood"] == "still"
    dead = DeltaTable(f"s3://{settings.s3_bucket}/bronze/dead_letters", storage_options=storage_options(settings))
    assert dead.to_pyarrow_table()["reason"].to_pylist() == ["Expected `str | null`, got `int` - at `$.mood`"]
    assert_whole(own)
    own("build")  # the models go on as before


def test_bronze_that_was_set_back_is_landed_again_and_dead_letters_stay(own: Cli) -> None:
    """Dead letters have then counted burials of which bronze knows nothing: the writer looked again for ever."""
    good, bad = play(), play(played_at="never")
    ids = send(own, good, bad, good | {"event_id": "another"})
    assert own.json("land", "--until-idle")["dead_letters"] == 1
    store = Store(own.settings())
    store.delete_all(store.keys(tables.FOLDERS[events.PLAYS]))
    again = own.json("land", "--until-idle", timeout=120)
    assert (again["rows"][events.PLAYS], again["dead_letters"]) == (2, 0)
    assert sorted(bronze_ids(own)) == sorted([ids[0], "another"])
    assert_whole(own)


def test_a_writer_that_never_gets_to_look_ends_all_the_same(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def locate(*_: Any) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:  # the group may take long to form
            timer.start()
        raise FencedError("another writer is always there")

    monkeypatch.setattr(Landing, "locate", locate)
    writer = Writer(cli.settings(), group=f"never-{uuid.uuid4().hex}")
    timer = threading.Timer(5, writer.stop)
    writer.run()
    assert not timer.is_alive()
    assert 2 <= looks <= 40, "not as often as it can"


def test_an_end_that_can_not_look_and_has_rows_of_another_topic_ends(own: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """It went on looking until the store was back: nothing was owed, and what was buffered could not be flushed."""
    send(own, play())
    with Producer(own.settings()) as producer:
        producer.send(events.SKIPS, "someone", b"no event")
    real = Landing.locate

    def flush(_: Landing, batch: Batch) -> None:
        if not writer._stop:
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


def test_a_store_that_goes_between_two_looks_is_said(own: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tables.dead_letters(own.settings())
    send(own, play(played_at="never"))
    own("land", "--until-idle")
    table.open()
    with Admin(own.settings()) as admin:
        topic_id = admin.topics(events.TOPICS)[events.PLAYS].topic_id
    own.kill("store")
    monkeypatch.setattr(table, "refresh", lambda: None)  # the look before went well
    with pytest.raises(WriteFailedError, match="could not be read"):
        [table.offsets_from(topic_id, partition, 0) for partition in range(4)]  # one of them has the dead letter
    own("up")
