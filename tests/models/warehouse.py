"""The dbt project on a DuckDB file, fed with events without Kafka and a lake: what the models make of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from playlake import events
from playlake.lake.files import folder_of
from playlake.lake.schema import BRONZE, DEAD_LETTERS
from playlake.settings import Settings, load_settings
from playlake.warehouse import dbt, duck
from playlake.warehouse.local import Local

TOPICS = {"plays": events.PLAYS, "skips": events.SKIPS, "likes": events.LIKES, "currently_playing": events.NOW_PLAYING}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
NOT_COMPARED = ("processed_at", "_build", "_first_build")
"""Columns that tell of a build, not of listening."""


@dataclass(frozen=True)
class Message:
    """A Kafka message that has landed."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


def bronze_rows(topic: str, landed: Iterable[tuple[Message, Any]], topic_id: str) -> pa.Table:
    """Events as rows of their topic's bronze table, without a look at what is in them."""
    rows = []
    for message, event in landed:
        at = datetime.fromtimestamp(message.timestamp_ms / 1000, UTC)
        kafka = {"topic": topic, "topic_id": topic_id, "partition": message.partition, "offset": message.offset}
        rows.append(
            {name: getattr(event, name) for name in event.__struct_fields__}
            | {f"_kafka_{name}": value for name, value in kafka.items()}
            | {"_kafka_timestamp": at, **folder_of(at)}
        )
    return pa.Table.from_pylist(rows, schema=BRONZE[topic])


def play(at: str, **fields: Any) -> events.Event:
    """A play that ended ``at`` (ISO, UTC), of the simulator unless told otherwise."""
    ended = datetime.fromisoformat(at).replace(tzinfo=UTC)
    values: dict[str, Any] = {
        "event_id": None,
        "user_id": "ada",
        "event_type": "play",
        "track_id": "track-1",
        "track_name": "One",
        "artist_name": "Artist",
        "album_name": "Album",
        "duration_ms": 200_000,
        "played_at": ended,
        "device_type": "phone",
        "source": "simulator",
        "ms_played": 200_000,
        "ended_at": ended,
        "time_precision_s": 1.0,
        **fields,
    }
    if values["event_id"] is None:
        values["event_id"] = events.event_id(*(str(values[n]) for n in ("source", "user_id", "track_id", "played_at")))
    return events.Event(**values)


@dataclass
class Warehouse:
    """A DuckDB file with bronze in it, and dbt on it."""

    home: Path
    settings: Settings
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    build: int = 0
    published: int = 0

    @staticmethod
    def settings_at(home: Path, **settings: Any) -> Settings:
        """Settings of a warehouse. The store's address is needed by no query: bronze is in the file itself."""
        return load_settings(
            _env_file=None,
            home=home,
            profile="containers",
            kafka_bootstrap="127.0.0.1:9",
            redis_url="redis://127.0.0.1:9/0",
            s3_endpoint="http://127.0.0.1:9",
            s3_access_key="none",
            s3_secret_key="none",
            **settings,
        )

    @classmethod
    def at(cls, home: Path, **settings: Any) -> Warehouse:
        """An empty one."""
        home.mkdir(parents=True)
        made = cls(home, cls.settings_at(home, **settings))
        with made.connect() as connection:
            connection.execute("create schema bronze")
            for table, topic in TOPICS.items():
                connection.register("empty", BRONZE[topic].empty_table())
                connection.execute(f"create table bronze.{table} as from empty")
                connection.execute(f"create view bronze.new_{table} as from bronze.{table}")
            connection.register("empty", DEAD_LETTERS.empty_table())
            connection.execute("create table bronze.dead_letters as from empty")
        return made

    @property
    def database(self) -> Path:
        """dbt's file."""
        return self.home / "spotify_data.duckdb"

    def connect(self) -> Any:
        """A connection to it, in UTC."""
        connection = duckdb.connect(str(self.database))
        connection.execute("set timezone = 'UTC'")
        return duck.closing(connection)

    def land(
        self, made: Iterable[Any], table: str = "plays", *, at: datetime = NOW, partition: int = 0, topic_id: str = "t1"
    ) -> None:
        """Let events land, as messages one after the other."""
        topic = TOPICS[table]
        good = []
        for event in made:
            offset = self.offsets.get((topic_id + table, partition), 0)
            self.offsets[topic_id + table, partition] = offset + 1
            stamp = int((at + timedelta(milliseconds=offset)).timestamp() * 1000)
            good.append((Message(topic, partition, offset, stamp), event))
        self.append(table, bronze_rows(topic, good, topic_id + table))

    def append(self, table: str, rows: pa.Table) -> None:
        """Add rows to a table of bronze."""
        with self.connect() as connection:
            connection.register("rows", rows)
            connection.execute(f"insert into bronze.{table} from rows")

    def run(self, *command: str, full: bool = False, publish: bool = True, **variables: object) -> Any:
        """Run dbt (``build`` unless told otherwise); what it made counts as published then."""
        self.build += 1
        given = {
            "build_number": self.build,
            "published_build": 0 if full else self.published,
            "time_zone": self.settings.time_zone,
            **variables,
        }
        results = self.dbt(
            *(command or ("build",)),
            *(["--full-refresh"] if full else []),
            **{f"DBT_PLAYLAKE_{n.upper()}": str(v) for n, v in given.items()},
        )
        if publish:
            self.published = self.build
        return results

    def dbt(self, *command: str, **environment: str) -> list[dict[str, Any]]:
        """Run dbt as it is, and return the results of its nodes."""
        return dbt.run(
            self.settings, Local(self.settings, self.home), command, lambda _text: None, variables=environment
        )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with self.connect() as connection:
            return list(connection.execute(query).fetchall())

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of every table and view of silver, gold and raw, sorted, but for what tells of the build itself."""
        with self.connect() as connection:
            names = connection.execute(
                "select table_schema, table_name from information_schema.tables"
                " where table_schema in ('raw', 'silver', 'gold') order by all"
            ).fetchall()
            return {
                f"{schema}.{name}": connection.execute(
                    f"select columns(c -> c not in {NOT_COMPARED}) from {schema}.{name} order by all"
                ).fetchall()
                for schema, name in names
            }


def differences(a: Mapping[str, list[Any]], b: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """By table, the first rows that are in one of two warehouses only."""
    assert a.keys() == b.keys()
    found = {}
    for name in a:
        if a[name] != b[name]:
            one, other = {repr(r) for r in a[name]}, {repr(r) for r in b[name]}
            found[name] = [sorted(one - other)[:3], sorted(other - one)[:3], len(a[name]), len(b[name])]
    return found
