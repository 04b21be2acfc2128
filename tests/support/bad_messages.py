"""Messages that can't be landed, and what is said of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from kafka import KafkaProducer

from playlake import events
from tests.support import messages
from tests.support.commands import Cli


def play(number: int, **changes: Any) -> dict[str, Any]:
    """A play that is one, with some fields changed; ``...`` takes a field out."""
    fixed = {"event_id": f"play-{number}", "track_name": "n", "played_at": "2025-01-01T10:00:00Z"}
    return {name: value for name, value in messages.play(**{**fixed, **changes}).items() if value is not ...}


def body(number: int, **changes: Any) -> bytes:
    return json.dumps(play(number, **changes)).encode()


BAD: dict[str, tuple[bytes | None, str]] = {
    "bad JSON": (b"{oops", "not JSON"),
    "cut JSON": (body(0)[:-9], "not JSON"),
    "two in one": (body(0) + body(0), "not JSON"),
    "no object": (b"[]", "not an event"),
    "null": (b"null", "not an event"),
    "wrong type": (body(0, duration_ms="long"), "duration_ms is not a whole number"),
    "wrong type of text": (body(0, track_name=7), "track_name is not text: 7"),
    "missing field": (body(0, track_id=...), "track_id is missing"),
    "unknown played_at": (
        body(0, played_at=None),
        "played_at is not a time with its zone, like 2026-01-31T20:15:00Z (RFC 3339): null",
    ),
    "no played_at": (body(0, played_at=...), "played_at is missing"),
    "1970": (body(0, played_at="1970-01-01T00:00:00Z"), "before 2000"),
    "2099": (body(0, played_at="2099-01-01T00:00:00Z"), "in the future"),
    "the end of time": (body(0, ended_at="9999-12-31T23:59:59.999999Z"), "ended_at is no time that can be kept"),
    "before the first year": (body(0, started_at="0001-01-01T00:00:00+14:00"), "started_at is no time"),
    "another topic's": (body(0, event_type="skip"), "event_type"),
    "null value": (None, "no value"),
    "empty value": (b"", "not JSON"),
    "5 MB": (b'{"event_id": "' + b"x" * (5 * 1024 * 1024) + b'"}', "too large for an event"),
    "5 MB in a new field": (body(0, pad="x" * (5 * 1024 * 1024)), "too large for an event: 5,2"),
    "long field": (body(0, track_id="x" * 5000), "track_id is not text of 1 to 4,096 characters"),
    "bad UTF-8": (b'{"event_id": "\xff\xfe"}', "event_id holds what is no character"),
    "bad UTF-8 in a play": (body(0).replace(b'"n"', b'"\xff"'), "track_name holds what is no character"),
    "deep": (b"[" * 100_000, ""),
    "markup": (body(0, event_type="[/red]"), "event_type is not one of play, skip, like"),
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


def send_bad(cli: Cli) -> dict[str, Sent]:
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
