"""Dead letters on the embedded stack: every kind of bad message is kept once, can be looked at, and sent again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest
from kafka import KafkaProducer

from playlake import events
from playlake.broker import Producer
from playlake.lake.dead import DeadLetters, Place
from playlake.warehouse import duck
from tests.support.commands import Cli
from tests.support.lakes import assert_whole, bronze_ids
from tests.support.waiting import wait_for

DAY_MS = 86_400_000


def play(number: int, **changes: Any) -> dict[str, Any]:
    """A play that is one, with some fields changed; None takes a field out."""
    fields = {
        "event_id": f"play-{number}",
        "user_id": "someone",
        "event_type": "play",
        "track_id": "t",
        "track_name": "n",
        "artist_name": "a",
        "album_name": None,
        "duration_ms": 180_000,
        "played_at": "2025-01-01T10:00:00Z",
        "device_type": None,
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not ...}


def body(number: int, **changes: Any) -> bytes:
    return json.dumps(play(number, **changes)).encode()


BAD: dict[str, tuple[bytes | None, str]] = {
    "bad JSON": (b"{oops", "not JSON"),
    "cut JSON": (body(0)[:-9], "not JSON"),
    "two in one": (body(0) + body(0), "not JSON"),
    "no object": (b"[]", "not an event"),
    "null": (b"null", "not an event"),
    "wrong type": (body(0, duration_ms="long"), "Expected `int | null`, got `str`"),
    "wrong type of text": (body(0, track_name=7), "Expected `str`, got `int`"),
    "missing field": (body(0, track_id=...), "missing required field `track_id`"),
    "unknown played_at": (body(0, played_at=None), "Expected `datetime`, got `null`"),
    "no played_at": (body(0, played_at=...), "missing required field `played_at`"),
    "1970": (body(0, played_at="1970-01-01T00:00:00Z"), "before 2000"),
    "2099": (body(0, played_at="2099-01-01T00:00:00Z"), "in the future"),
    "the end of time": (body(0, ended_at="9999-12-31T23:59:59.999999Z"), "ended_at is no time that can be kept"),
    "before the first year": (body(0, started_at="0001-01-01T00:00:00+14:00"), "started_at is no time"),
    "extra": (body(0, extra=None), "the field `extra` is reserved"),
    "another topic's": (body(0, event_type="skip"), "event_type"),
    "null value": (None, "no value"),
    "empty value": (b"", "not JSON"),
    "5 MB": (b'{"event_id": "' + b"x" * (5 * 1024 * 1024) + b'"}', "too large for an event"),
    "5 MB in a new field": (body(0, pad="x" * (5 * 1024 * 1024)), "too large for an event: 5,2"),
    "long field": (body(0, track_id="x" * 5000), "length <= 4096"),
    "bad UTF-8": (b'{"event_id": "\xff\xfe"}', "not JSON"),
    "bad UTF-8 in a play": (body(0).replace(b'"n"', b'"\xff"'), ""),
    "deep": (b"[" * 100_000, ""),
    "markup": (body(0, event_type="[/red]"), "Invalid enum value"),
}


@dataclass
class Sent:
    """Where a bad message went."""

    partition: int
    offset: int
    value: bytes | None
    reason: str

    @property
    def place(self) -> str:
        return f"{events.PLAYS}/{self.partition}/{self.offset}"


@pytest.fixture(scope="module")
def sent(cli: Cli) -> dict[str, Sent]:
    """Each kind of bad message between two good ones in one partition, and landed."""
    producer = KafkaProducer(bootstrap_servers=cli.settings().kafka_bootstrap, max_request_size=8 * 1024 * 1024)
    found = {}
    for number, (name, (value, reason)) in enumerate(BAD.items()):
        producer.send(events.PLAYS, key=b"k", value=body(2 * number), partition=1)
        at = producer.send(events.PLAYS, key=b"k\xff", value=value, partition=1).get(30)
        producer.send(events.PLAYS, key=b"k", value=body(2 * number + 1, filename="a.mp3"), partition=1)
        found[name] = Sent(at.partition, at.offset, value, reason)
    producer.flush()
    producer.close()
    landed = cli.json("land", "--until-idle")
    assert landed["dead_letters"] == len(BAD)
    return found


def test_every_kind_of_bad_message_is_kept_once_and_its_neighbours_land(cli: Cli, sent: dict[str, Sent]) -> None:
    settings = cli.settings()
    with duck.connect(settings) as connection:
        rows = connection.execute(
            "select _kafka_partition, _kafka_offset, reason, value, key, _kafka_topic"
            f" from delta_scan('s3://{settings.s3_bucket}/bronze/dead_letters')"
        ).fetchall()
    assert sorted(r[:2] for r in rows) == sorted((s.partition, s.offset) for s in sent.values())
    by_place = {r[:2]: r[2:] for r in rows}
    for name, one in sent.items():
        reason, value, key, topic = by_place[one.partition, one.offset]
        assert (value, key, topic) == (one.value, b"k\xff", events.PLAYS), name
        assert reason, name
        assert one.reason in reason, name
    assert sorted(bronze_ids(cli)) == sorted(f"play-{n}" for n in range(2 * len(BAD)))
    assert_whole(cli)


def test_list_groups_and_filters(cli: Cli, sent: dict[str, Sent]) -> None:
    found = cli.json("dlq", "list", "--limit", "1000")
    assert (found["total"], found["replayed"]) == (len(BAD), 0)
    assert sum(g["count"] for g in found["groups"]) == len(BAD)
    assert all(":" not in g["reason"] for g in found["groups"])
    assert {(m["topic"], m["partition"], m["offset"]) for m in found["messages"]} == {
        (events.PLAYS, s.partition, s.offset) for s in sent.values()
    }
    assert all(m["reason"] and m["time"] for m in found["messages"])
    few = cli.json("dlq", "list", "--reason", "IN THE FUTURE", "--topic", events.PLAYS, "--since", "1h")
    assert [m["offset"] for m in few["messages"]] == [sent["2099"].offset]
    assert cli.json("dlq", "list", "--topic", events.LIKES)["total"] == 0
    assert len(cli.json("dlq", "list", "--limit", "2")["messages"]) == 2
    wait_for(lambda: cli.json("dlq", "list", "--since", "1s")["total"] == 0)
    assert cli("dlq", "list", "--since", "1s").out == "No dead letters match.\n"
    assert cli.json("dlq", "list", "--since", "1d")["total"] == len(BAD)
    text = cli("dlq", "list").out
    assert f"{len(BAD)} dead letters, 0 of them replayed" in text
    assert cli("dlq", "list", "--topic", "nonsense", check=2).err.startswith("playlake: No topic 'nonsense'")


def test_show_gives_the_bytes_back(cli: Cli, sent: dict[str, Sent]) -> None:
    with duck.connect(cli.settings()) as connection:
        letters = DeadLetters(cli.settings(), connection)
        for name, one in sent.items():
            found = letters.content(Place(events.PLAYS, one.partition, one.offset))
            assert (found.value, found.key) == (one.value, b"k\xff"), name
    for name in ("null value", "5 MB", "bad UTF-8"):
        raw = cli("dlq", "show", sent[name].place, "--raw").out
        assert raw.encode(errors="surrogateescape") == (sent[name].value or b"")


def test_show_is_made_for_people(cli: Cli, sent: dict[str, Sent]) -> None:
    text = cli("dlq", "show", sent["2099"].place).out
    assert "in the future of its message" in text
    assert '"played_at": "2099-01-01T00:00:00Z"' in text
    assert "6b ff" in text, "a key that is no text"
    assert "00000000  7b 22 65" in cli("dlq", "show", sent["bad UTF-8"].place).out
    assert "no value" in cli("dlq", "show", sent["null value"].place).out
    large = cli("dlq", "show", sent["5 MB"].place).out
    assert len(large) < 70_000
    assert "bytes more; --raw gives all" in large
    assert "[/red]" in cli("dlq", "show", sent["markup"].place).out
    found = cli.json("dlq", "show", sent["bad UTF-8"].place)
    assert (found["text"], bytes.fromhex(found["hex"])) == (None, sent["bad UTF-8"].value)


def test_show_helps_where_there_is_none(cli: Cli, sent: dict[str, Sent]) -> None:
    one = sent["2099"]
    done = cli("dlq", "show", f"{events.PLAYS}/{one.partition}/{one.offset + 1}", check=1)
    assert "There is no dead letter at" in done.err
    assert str(one.offset) in done.err
    assert "TOPIC/PARTITION/OFFSET" in cli("dlq", "show", "plays", check=2).err
    assert "There is no dead letter at" in cli("dlq", "replay", f"{events.SKIPS}/0/5", check=1).err


def refused_by_a_wrong_clock(cli: Cli, ids: list[str]) -> None:
    """Plays of yesterday, sent by a producer whose clock is three days slow: refused then, accepted when sent today."""
    producer = KafkaProducer(bootstrap_servers=cli.settings().kafka_bootstrap)
    now = int(time.time() * 1000)
    yesterday = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now / 1000 - 86_400))
    for event_id in ids:
        value = body(0, event_id=event_id, played_at=yesterday)
        producer.send(events.PLAYS, key=event_id.encode(), value=value, timestamp_ms=now - 3 * DAY_MS)
    producer.flush()
    producer.close()
    assert cli.json("land", "--until-idle")["dead_letters"] == len(ids)


def test_replay_sends_what_has_become_an_event_once(cli: Cli, sent: dict[str, Sent]) -> None:
    ids = [f"slow-{n}" for n in range(30)]
    refused_by_a_wrong_clock(cli, ids)
    before = set(bronze_ids(cli))
    assert not before & set(ids)
    would = cli.json("dlq", "replay", "--dry-run")
    assert (would["looked_at"], would["sent"], would["refused"]) == (len(BAD) + 30, 30, len(BAD))
    assert cli.json("land", "--until-idle")["flushes"] == 0, "a dry run sends nothing"
    assert cli.json("dlq", "list")["replayed"] == 0

    done = cli.json("dlq", "replay", "--reason", "in the future")
    assert (done["looked_at"], done["sent"], done["by_topic"]) == (31, 30, {events.PLAYS: 30})
    assert done["reasons"] == [
        {"topic": events.PLAYS, "reason": "played_at lies in the future of its message", "count": 1}
    ]
    landed = cli.json("land", "--until-idle")
    assert (landed["rows"][events.PLAYS], landed["dead_letters"]) == (30, 0)
    assert sorted(i for i in bronze_ids(cli) if i.startswith("slow-")) == sorted(ids)
    found = cli.json("dlq", "list", "--limit", "100")
    assert (found["total"], found["replayed"]) == (len(BAD) + 30, 30), "they stay, marked"
    with duck.connect(cli.settings()) as connection:
        uri = f"s3://{cli.settings().s3_bucket}/bronze/plays"
        rows = connection.execute(
            f"select event_id, _kafka_partition from delta_scan('{uri}') where event_id like 'slow-%'"
        ).fetchall()
    places = {m["partition"] for m in found["messages"] if m["replayed_at"]}
    assert {p for _, p in rows} == places, "the same key: the same partition"

    twice = cli.json("dlq", "replay")
    assert (twice["looked_at"], twice["sent"]) == (len(BAD), 0)
    assert cli.json("land", "--until-idle")["rows"][events.PLAYS] == 0
    place = next(m for m in found["messages"] if m["replayed_at"])
    named = f"{place['topic']}/{place['partition']}/{place['offset']}"
    assert cli.json("dlq", "replay", named)["sent"] == 0
    assert cli.json("dlq", "replay", named, "--again")["sent"] == 1
    assert cli.json("land", "--until-idle")["rows"][events.PLAYS] == 1
    assert_whole(cli)
    assert "bronze/dead_letters" in cli.json("lake", "compact")["compacted"], "what was replayed has no hours"
    cli("lake", "prune")


def test_replay_heeds_the_columns_that_the_table_has(cli: Cli) -> None:
    with Producer(cli.settings()) as producer:
        producer.send(events.SKIPS, "k", body(0, event_id="one", event_type="skip", mood="good"))
        producer.flush()
        assert cli.json("land", "--until-idle")["rows"][events.SKIPS] == 1
        producer.send(events.SKIPS, "k", body(0, event_id="two", event_type="skip", mood=7))
    assert cli.json("land", "--until-idle")["dead_letters"] == 1
    done = cli.json("dlq", "replay", "--topic", events.SKIPS)
    assert (done["sent"], done["refused"]) == (0, 1)
    assert "Expected `str | null`, got `int`" in done["reasons"][0]["reason"]


def test_without_servers_it_is_one_line(tmp_path: Any) -> None:
    alone = Cli(tmp_path / "home")
    for command in (("list",), ("show", "user_plays/0/0"), ("replay",)):
        done = alone("dlq", *command, check=1)
        assert len([line for line in done.err.splitlines() if line.startswith("playlake: ")]) == 1
        assert "playlake up" in done.err
