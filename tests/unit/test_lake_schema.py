"""From messages to Arrow rows: good and dead told apart, with the schemas and folders of the bronze tables."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from playlake.events import BY_TOPIC, NOW_PLAYING, PLAYS, TOPICS
from playlake.lake import tables
from playlake.lake.decode import Decoder
from playlake.lake.files import files
from playlake.lake.schema import BRONZE, DEAD_LETTERS, PARTITION_COLUMNS, Dead, bronze_rows, dead_letter_rows
from playlake.records import Run
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


def play(offset: int = 0, **fields: Any) -> tuple[int, int, bytes]:
    """Offset, time and value of a message that is a play."""
    return offset, AT_MS, json.dumps(PLAY | fields).encode()


def run(*messages: tuple[int, int, bytes | None], topic: str = PLAYS) -> Run:
    offsets, times, values = zip(*messages, strict=True)
    return Run.of(topic, 3, list(offsets), list(times), [b"u1"] * len(messages), list(values))


def rows(*messages: tuple[int, int, bytes | None], topic: str = PLAYS) -> pa.Table:
    """What lands of these messages: the table's columns but the folders."""
    found = bronze_rows(topic, Decoder(topic).decode([run(*messages, topic=topic)]).rows, f"id-of-{topic}")
    found.validate(full=True)
    return found


def without_folders(schema: pa.Schema) -> pa.Schema:
    return pa.schema([f for f in schema if f.name not in PARTITION_COLUMNS])


@pytest.mark.parametrize("topic", TOPICS)
def test_bronze_has_the_fields_of_the_event_and_where_it_came_from(topic: str) -> None:
    names = BRONZE[topic].names
    fields = list(BY_TOPIC[topic].__struct_fields__)
    assert names[: len(fields)] == fields
    assert names[len(fields) :] == [*DEAD_LETTERS.names[3:]]
    assert names[-4:] == list(PARTITION_COLUMNS)
    assert bronze_rows(topic, Decoder(topic).decode([]).rows, "id").schema.equals(without_folders(BRONZE[topic]))


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
    table = rows(play(41, more=[1], skipped=True))
    assert table.schema.equals(without_folders(BRONZE[PLAYS]))
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
    }


def test_a_row_of_currently_playing() -> None:
    shown = {"user_id": "u", "track_id": "t", "track_name": "S", "artist": "B", "started_at": None}
    value = json.dumps(shown | {"detected_at": "2026-01-01T00:00:00Z"}).encode()
    table = rows((0, AT_MS, value), topic=NOW_PLAYING)
    assert table.schema.equals(without_folders(BRONZE[NOW_PLAYING]))
    assert table["artist"].to_pylist() == ["B"]


def test_rows_keep_their_order() -> None:
    assert rows(play(3), play(5, more={}), play(9))["_kafka_offset"].to_pylist() == [3, 5, 9]


def test_a_row_of_dead_letters_has_the_raw_bytes() -> None:
    dead = [Dead(3, 7, AT_MS, b"\xfe", b"\xff\x00", "why"), Dead(3, 8, AT_MS, None, None, "no value")]
    table = dead_letter_rows(PLAYS, dead, "id")
    table.validate(full=True)
    assert table.schema.equals(without_folders(DEAD_LETTERS))
    assert table.select(["reason", "key", "value", "_kafka_offset"]).to_pylist() == [
        {"reason": "why", "key": b"\xfe", "value": b"\xff\x00", "_kafka_offset": 7},
        {"reason": "no value", "key": None, "value": None, "_kafka_offset": 8},
    ]
    assert dead_letter_rows(PLAYS, [], "id").schema.equals(without_folders(DEAD_LETTERS))


@pytest.mark.parametrize(
    ("timestamp", "folder"),
    [
        (AT_MS, "year=2026/month=03/day=04/hour=05"),
        (AT_MS + 1, "year=2026/month=03/day=04/hour=06"),
        (0, "year=1970/month=01/day=01/hour=00"),
        (-1, "year=1970/month=01/day=01/hour=00"),
        (-FAR, "year=1970/month=01/day=01/hour=00"),
        (FAR, "year=9999/month=01/day=01/hour=00"),
    ],
)
def test_folders_are_the_utc_hour_of_the_message(timestamp: int, folder: str) -> None:
    [file] = files(dead_letter_rows(PLAYS, [Dead(3, 7, timestamp, None, None, "why")], "id"))
    assert file.path.rpartition("/")[0] == folder
    assert "/".join(f"{k}={v}" for k, v in file.partition_values.items()) == folder


@pytest.mark.parametrize("timestamp", [-FAR - 1, -1, 0, AT_MS, 10**14, FAR])
def test_any_time_stamp_ends_in_bronze_or_dead_letters(timestamp: int) -> None:
    decoded = Decoder(PLAYS).decode([run((0, timestamp, play()[2]))])
    landed = len(bronze_rows(PLAYS, decoded.rows, "id"))
    buried = len(dead_letter_rows(PLAYS, decoded.dead, "id"))
    assert (landed, buried) == ((1, 0) if timestamp >= AT_MS else (0, 1))


@pytest.mark.parametrize("block", [0, 200])
@pytest.mark.parametrize(
    "at", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-23:59"]
)
def test_absurd_times_within_an_event_do_not_stop_its_neighbours(at: str, block: int) -> None:
    """Every file of what lands can be written: its bounds are rounded up, and the end of time has no after."""
    others = [play(n + 4) for n in range(block)]
    decoded = Decoder(PLAYS).decode([run(play(0), play(1, started_at=at), play(2, ended_at=at), play(3), *others)])
    table = bronze_rows(PLAYS, decoded.rows, "id")
    table.validate(full=True)
    assert [d.offset for d in decoded.dead] == [1, 2]
    assert sum(json.loads(file.stats)["numRecords"] for file in files(table)) == block + 2


def test_the_first_and_the_last_time_that_land() -> None:
    first, last = "0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z"
    [file] = files(rows(play(0, started_at=first, ended_at=last)))
    stats = json.loads(file.stats)
    assert (stats["minValues"]["started_at"], stats["maxValues"]["ended_at"]) == (
        "0001-01-01T00:00:00.000Z",
        "9999-01-01T00:00:00.000Z",
    )


def test_one_file_for_each_hour_with_the_bounds_of_its_rows() -> None:
    made = list(files(rows(play(0), (1, AT_MS + 1, play()[2]), (2, AT_MS + 2, play(1, track_name="x" * 100)[2]))))
    assert [f.partition_values["hour"] for f in made] == ["05", "06"]
    late = json.loads(made[1].stats)
    assert late["numRecords"] == 2
    assert (late["minValues"]["_kafka_offset"], late["maxValues"]["_kafka_offset"]) == (1, 2)
    assert late["maxValues"]["track_name"] == "x" * 63 + "y"  # greater than all that begin like this
    assert late["minValues"]["played_at"] == "2026-01-01T10:00:00.000Z"
    assert (late["nullCount"]["album_name"], late["nullCount"]["event_id"]) == (2, 0)
    assert pq.read_table(pa.BufferReader(made[1].body)).num_rows == 2
