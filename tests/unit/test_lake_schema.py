"""From messages to Arrow rows: good and dead told apart, with the schemas and folders of the bronze tables."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import settings as h
from hypothesis import strategies as st

from playlake.events import BY_TOPIC, NOW_PLAYING, PLAYS, TOPICS
from playlake.lake import tables
from playlake.lake.schema import (
    BRONZE,
    DEAD_LETTERS,
    PARTITION_COLUMNS,
    Dead,
    Decoded,
    bronze_rows,
    dead_letter_rows,
    decode,
)
from playlake.settings import ROOT

AT_MS = int(datetime(2026, 3, 4, 5, 59, 59, 999000, tzinfo=UTC).timestamp() * 1000)
PLAY: dict[str, Any] = {
    "event_id": "e1",
    "user_id": "u1",
    "event_type": "play",
    "track_id": "t1",
    "track_name": "Song",
    "artist_name": "Band",
    "album_name": None,
    "duration_ms": 180_000,
    "played_at": "2026-01-01T12:00:00+02:00",
    "device_type": None,
}
FAR = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Msg:
    offset: int = 0
    value: bytes | None = json.dumps(PLAY).encode()
    timestamp_ms: int = AT_MS
    topic: str = PLAYS
    partition: int = 3
    key: bytes | None = b"u1"


def topic_id(topic: str) -> str:
    return f"id-of-{topic}"


def play(offset: int = 0, **fields: Any) -> Msg:
    return Msg(offset, json.dumps(PLAY | fields).encode())


def rows(*messages: Msg) -> list[dict[str, Any]]:
    found = bronze_rows(PLAYS, decode(PLAYS, messages), topic_id).to_pylist()
    assert len(found) == len(messages)
    return found


GOOD = [json.dumps(PLAY).encode(), json.dumps(PLAY | {"more": 1}).encode()]
BAD = [None, b"", b"{", b"\xff", b"[" * 100_000, b"[]", json.dumps(PLAY | {"user_id": None}).encode()]


@h(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=30))
def test_a_bad_message_touches_no_neighbour(plan: list[tuple[bool, int]]) -> None:
    messages = [Msg(n, (GOOD if good else BAD)[pick % (2 if good else 7)]) for n, (good, pick) in enumerate(plan)]
    decoded = decode(PLAYS, messages)
    assert [m.offset for m, _ in decoded.good] == [n for n, (good, _) in enumerate(plan) if good]
    assert [d.message.offset for d in decoded.dead] == [n for n, (good, _) in enumerate(plan) if not good]
    assert all(d.reason for d in decoded.dead)


@pytest.mark.parametrize("topic", TOPICS)
def test_bronze_has_the_fields_of_the_event_and_where_it_came_from(topic: str) -> None:
    names = BRONZE[topic].names
    fields = list(BY_TOPIC[topic].__struct_fields__)
    assert names[: len(fields)] == fields
    assert names[len(fields) :] == [*DEAD_LETTERS.names[3:]]
    assert names[-4:] == list(PARTITION_COLUMNS)
    assert bronze_rows(topic, Decoded(), topic_id).schema == BRONZE[topic]


def test_dbt_describes_every_column_of_every_table_of_bronze() -> None:
    [source] = yaml.safe_load((ROOT / "dbt" / "models" / "bronze" / "_bronze.yml").read_text())["sources"]
    described = {t["name"]: {c["name"]: c["description"] for c in t["columns"]} for t in source["tables"]}
    columns = {folder.rpartition("/")[2]: schema.names for folder, schema in tables.schemas().items()}
    events = ("plays", "skips", "likes")
    assert {name: list(found) for name, found in described.items()} == columns | {
        f"new_{name}": columns[name] for name in events
    }
    assert all(len(text) > 3 for found in described.values() for text in found.values())
    assert all(len(table["description"]) > 10 for table in source["tables"])


def test_types_of_bronze() -> None:
    schema = BRONZE[PLAYS]
    assert schema.field("event_id") == pa.field("event_id", pa.string(), nullable=False)
    assert schema.field("event_type") == pa.field("event_type", pa.string(), nullable=False)
    assert schema.field("played_at") == pa.field("played_at", pa.timestamp("us", "UTC"), nullable=False)
    assert schema.field("started_at") == pa.field("started_at", pa.timestamp("us", "UTC"))
    assert schema.field("duration_ms") == pa.field("duration_ms", pa.int64())
    assert schema.field("time_precision_s") == pa.field("time_precision_s", pa.float64())
    assert schema.field("skipped") == pa.field("skipped", pa.bool_())
    assert schema.field("_kafka_offset") == pa.field("_kafka_offset", pa.int64(), nullable=False)
    assert schema.field("hour") == pa.field("hour", pa.string(), nullable=False)


def test_a_row_of_bronze() -> None:
    table = bronze_rows(PLAYS, decode(PLAYS, [play(41, more=[1], skipped=True)]), topic_id)
    table.validate(full=True)
    assert table.schema == BRONZE[PLAYS]
    [row] = table.to_pylist()
    given_fields = {k: v for k, v in row.items() if v is not None}
    assert given_fields == {
        "event_id": "e1",
        "user_id": "u1",
        "event_type": "play",
        "track_id": "t1",
        "track_name": "Song",
        "artist_name": "Band",
        "duration_ms": 180_000,
        "played_at": datetime(2026, 1, 1, 10, tzinfo=UTC),
        "skipped": True,
        "extra": '{"more":[1]}',
        "_kafka_topic": PLAYS,
        "_kafka_topic_id": "id-of-user_plays",
        "_kafka_partition": 3,
        "_kafka_offset": 41,
        "_kafka_timestamp": datetime(2026, 3, 4, 5, 59, 59, 999000, tzinfo=UTC),
        "year": "2026",
        "month": "03",
        "day": "04",
        "hour": "05",
    }


def test_a_row_of_currently_playing() -> None:
    shown = {"user_id": "u", "track_id": "t", "track_name": "S", "artist": "B", "started_at": None}
    value = json.dumps(shown | {"detected_at": "2026-01-01T00:00:00Z"}).encode()
    table = bronze_rows(NOW_PLAYING, decode(NOW_PLAYING, [Msg(value=value, topic=NOW_PLAYING)]), topic_id)
    assert table.schema == BRONZE[NOW_PLAYING]
    assert table["artist"].to_pylist() == ["B"]


def test_rows_keep_their_order() -> None:
    assert [row["_kafka_offset"] for row in rows(play(5), play(3), play(9))] == [5, 3, 9]


def test_a_row_of_dead_letters_has_the_raw_bytes() -> None:
    dead = [Dead(Msg(7, b"\xff\x00", key=b"\xfe"), "why"), Dead(Msg(8, None, key=None), "no value")]
    table = dead_letter_rows(dead, topic_id)
    table.validate(full=True)
    assert table.schema == DEAD_LETTERS
    assert table.select(["reason", "key", "value", "_kafka_offset", "hour"]).to_pylist() == [
        {"reason": "why", "key": b"\xfe", "value": b"\xff\x00", "_kafka_offset": 7, "hour": "05"},
        {"reason": "no value", "key": None, "value": None, "_kafka_offset": 8, "hour": "05"},
    ]
    assert dead_letter_rows([], topic_id).schema == DEAD_LETTERS


@pytest.mark.parametrize(
    ("timestamp", "folder"),
    [
        (AT_MS, ("2026", "03", "04", "05")),
        (AT_MS + 1, ("2026", "03", "04", "06")),
        (0, ("1970", "01", "01", "00")),
        (-1, ("1970", "01", "01", "00")),
        (-FAR, ("1970", "01", "01", "00")),
        (FAR, ("9999", "01", "01", "00")),
    ],
)
def test_folders_are_the_utc_hour_of_the_message(timestamp: int, folder: tuple[str, ...]) -> None:
    [row] = dead_letter_rows([Dead(Msg(timestamp_ms=timestamp), "why")], topic_id).to_pylist()
    assert tuple(row[name] for name in PARTITION_COLUMNS) == folder
    assert row["_kafka_timestamp"].strftime("%Y %m %d %H") == " ".join(folder)


@pytest.mark.parametrize("timestamp", [-FAR - 1, -1, 0, AT_MS, 10**14, FAR])
def test_any_time_stamp_ends_in_bronze_or_dead_letters(timestamp: int) -> None:
    decoded = decode(PLAYS, [dataclasses.replace(play(), timestamp_ms=timestamp)])
    landed = bronze_rows(PLAYS, decoded, topic_id).num_rows
    buried = dead_letter_rows(decoded.dead, topic_id).num_rows
    assert (landed, buried) == ((1, 0) if timestamp >= AT_MS else (0, 1))


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999-23:59"])
def test_absurd_times_within_an_event_do_not_stop_its_neighbours(at: str) -> None:
    messages = [play(0), play(1, started_at=at), play(2, ended_at=at), play(3)]
    decoded = decode(PLAYS, messages)
    table = bronze_rows(PLAYS, decoded, topic_id)
    table.validate(full=True)
    assert table.num_rows + len(decoded.dead) == 4
    assert {0, 3} <= set(table["_kafka_offset"].to_pylist())
