"""The lake writer as a process: modes and signals, several of it, a store that hangs, a topic made anew, new fields."""

from __future__ import annotations

import json
import signal
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from kafka import KafkaAdminClient

from playlake import events
from playlake.broker import Admin, Producer, TopicPartition
from playlake.lake import tables
from playlake.lake.options import storage_options
from playlake.lake.table import WriteFailedError
from playlake.lake.writer import Writer
from tests.chaos.proxy import Faults, S3Proxy
from tests.scraping import free_port, scrape
from tests.support import Cli, addressed, assert_whole, bronze_ids, end, lands, wait_for

pytestmark = pytest.mark.timeout(300)


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
    assert done.json["rows"]["user_plays"] >= 20
    assert landed(cli, ids)


def test_for_some_time(cli: Cli) -> None:
    ids = send(cli, play())
    started = time.monotonic()
    done = cli("land", "--for", "8s", "--json")
    assert done.json["rows"]["user_plays"] >= 1
    assert 8 <= time.monotonic() - started < 30
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
    with S3Proxy(own.settings().s3_endpoint) as store:
        through = Cli(own.home)
        through.env |= addressed(own.settings(), s3_endpoint=store.url).environment()
        through.env["PLAYLAKE_FLUSH_SECONDS"] = "1"
        writer = through.start("land", "--json")
        first = send(own, play())
        wait_for(lambda: landed(own, first))
        store.faults = Faults({"stall": 1.0}, stall_s=20.0)
        ids = send(own, *(play() for _ in range(500)))
        wait_for(lambda: store.done["stall"])
        store.faults = Faults()
        time.sleep(20)
        wait_for(lambda: landed(own, ids), 90)
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
    wait_for(lambda: landed(own, old), 90)
    new = send(own, play(mood="calm", bpm=120), play(mood="wild", tags=["a"]))
    wait_for(lambda: landed(own, new))
    wrong = send(own, play(mood=7), play(mood="still"))
    wait_for(lambda: landed(own, wrong[1:]))
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
