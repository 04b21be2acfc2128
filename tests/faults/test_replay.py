"""Dead letters on the embedded stack: every kind of bad message is kept once, can be looked at, and sent again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest
from kafka import KafkaProducer

from playlake import events
from tests.support.commands import Cli
from tests.support.lakes import bronze_ids

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


def test_killed_between_sending_and_noting_sends_twice_and_loses_nothing(cli: Cli) -> None:
    ids = [f"killed-{n}" for n in range(5)]
    refused_by_a_wrong_clock(cli, ids)
    killed = Cli(cli.home, failpoint="before-replay-is-noted")
    assert killed("dlq", "replay", "--topic", events.PLAYS, check=-9).code == -9
    assert cli.json("dlq", "replay", "--topic", events.PLAYS)["sent"] == 5
    cli.json("land", "--until-idle")
    assert sorted(i for i in bronze_ids(cli) if i.startswith("killed-")) == sorted(2 * ids)
    assert cli.json("dlq", "replay", "--topic", events.PLAYS)["sent"] == 0


def test_interrupted_notes_what_it_sent(cli: Cli) -> None:
    ids = [f"stopped-{n}" for n in range(12_000)]
    refused_by_a_wrong_clock(cli, ids)
    process = cli.start("dlq", "replay", "--topic", events.PLAYS, "--json")
    assert process.stderr
    while "looked at" not in (line := process.stderr.readline()):
        assert line, "it has ended before it said how far it is"
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    assert process.returncode == 130, out
    assert "run it again to go on" in json.loads(out)["error"]
    noted = cli.json("dlq", "list", "--limit", "0")["replayed"]
    rest = cli.json("dlq", "replay", "--topic", events.PLAYS)["sent"]
    landed = cli.json("land", "--until-idle")
    assert 0 < rest < 12_000
    assert noted >= 5_000
    assert landed["rows"][events.PLAYS] == 12_000, "nothing twice, nothing lost"
