"""Dead letters: places, conditions, chunks, and what today's rules say."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from playlake import events
from playlake.cli.dlq import hexdump
from playlake.errors import UsageError
from playlake.lake import dead
from playlake.lake.dead import Place, Wanted, kind
from playlake.lake.replay import Rules

NOW_MS = 1_780_000_000_000


def body(**changes: object) -> bytes:
    fields: dict[str, object] = {
        "event_id": "e",
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
    return json.dumps({**fields, **changes}).encode()


def test_a_place_is_written_and_read_the_same_way() -> None:
    assert str(Place.parse("user_plays/3/1234")) == "user_plays/3/1234"
    for wrong in ("user_plays", "user_plays/x/1", "user_plays/1/-1", "user_plays/1/", "/1/1", "user_plays/1/1/1"):
        with pytest.raises(UsageError, match="TOPIC/PARTITION/OFFSET"):
            Place.parse(wrong)
    with pytest.raises(UsageError, match="No topic 'plays'"):
        Place.parse("plays/0/1")


def test_a_reason_is_grouped_by_what_stands_before_its_colon() -> None:
    assert kind("not JSON: invalid character (byte 0)") == "not JSON"
    assert kind("the message has no value") == "the message has no value"


def test_conditions_have_as_many_parameters_as_marks() -> None:
    wanted = Wanted(events.PLAYS, "json", places=[Place(events.PLAYS, 0, 1), Place(events.PLAYS, 0, 2)])
    where, values = wanted.where()
    assert where.count("?") == len(values) == 8
    assert Wanted().where() == ("true", [])


def test_chunks_are_small_enough_and_hold_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead, "_CHUNK_ROWS", 3)
    monkeypatch.setattr(dead, "_CHUNK_BYTES", 100)
    assert list(dead._cuts([])) == []
    assert list(dead._cuts([1] * 7)) == [3, 6, 7]
    assert list(dead._cuts([60, 60, 500, 1])) == [1, 2, 3, 4]


def test_the_rules_are_the_events_and_those_of_the_columns() -> None:
    asked: list[str] = []

    def columns(topic: str) -> dict[str, pa.DataType]:
        asked.append(topic)
        return {"mood": pa.string()}

    rules = Rules(columns)
    assert rules.refusal(events.PLAYS, body(), NOW_MS) is None
    assert rules.refusal(events.PLAYS, body(mood="good"), NOW_MS) is None
    assert rules.refusal(events.PLAYS, body(mood=1), NOW_MS) is None, "it stays in `extra`"
    assert "duration_ms is not" in str(rules.refusal(events.PLAYS, body(duration_ms="x"), NOW_MS))
    assert "no value" in str(rules.refusal(events.PLAYS, None, NOW_MS))
    assert "future" in str(rules.refusal(events.PLAYS, body(played_at="2099-01-01T00:00:00Z"), NOW_MS))


def test_a_hex_dump_has_offsets_bytes_and_text() -> None:
    assert hexdump(b"{\xff}\n0123456789abc").splitlines() == [
        "00000000  7b ff 7d 0a 30 31 32 33 34 35 36 37 38 39 61 62  {.}.0123456789ab",
        f"00000010  63{' ' * 45}  c",
    ]
