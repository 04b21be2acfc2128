"""The whole path on Redpanda, MinIO and Redis in containers, and clients that are not ours on both ends of it."""

from __future__ import annotations

import io
import json
import uuid
from datetime import UTC, datetime
from typing import Any

import duckdb
import httpx
import polars
import pytest
import redis
from deltalake import DeltaTable
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaPartition
from minio import Minio

from playlake import events
from playlake.settings import Settings
from playlake.warehouse.build import folder
from playlake.warehouse.publish import current
from tests.support.commands import end
from tests.support.containers import ContainerCli
from tests.support.lakes import assert_whole, lake_of_its_own
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def cli(container_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> ContainerCli:
    made = ContainerCli(lake_of_its_own(container_settings, tmp_path_factory.mktemp("path")))
    made.json("simulate", "--plays", "3000", "--listeners", "40")
    made.json("land", "--until-idle")
    return made


@pytest.fixture
def store(cli: ContainerCli) -> Minio:
    """MinIO's own client."""
    own = cli.own
    assert own.s3_endpoint
    assert own.s3_access_key
    assert own.s3_secret_key
    return Minio(
        own.s3_endpoint.removeprefix("http://"),
        access_key=own.s3_access_key.get_secret_value(),
        secret_key=own.s3_secret_key.get_secret_value(),
        secure=False,
    )


def options(cli: ContainerCli) -> dict[str, str]:
    from playlake.lake.options import storage_options

    return storage_options(cli.own)


def test_produced_landed_built_and_served(cli: ContainerCli) -> None:
    report = assert_whole(cli)
    assert sum(p["in_bronze"] for p in report["partitions"] if p["topic"] == events.PLAYS) >= 3000
    built = cli.json("build")
    assert built["silver"]["silver_plays"] >= 3000
    assert [s["state"] for s in cli.json("status")["servers"]] == ["running"] * 3
    gold_file = current(folder(cli.own))
    assert gold_file
    with duckdb.connect(str(gold_file.path), read_only=True) as gold:
        [(track, expected)] = gold.execute(
            "select track_id, count(*) from gold.track_similarity group by 1 order by 2 desc, 1 limit 1"
        ).fetchall()
    process = cli.start("serve", "api", "--json")
    assert process.stdout is not None
    try:
        url = json.loads(process.stdout.readline())["url"]
        wait_for(lambda: _healthy(url))
        first, second = httpx.get(f"{url}/recommendations/{track}"), httpx.get(f"{url}/recommendations/{track}")
        assert (first.headers["x-cache"], second.headers["x-cache"]) == ("miss", "hit")
        assert len(first.json()["recommendations"]) == expected
    finally:
        end(process)


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").json()["cache"] == "ok"
    except (httpx.HTTPError, ValueError):
        return False


def test_others_read_the_topic_that_ours_wrote(cli: ContainerCli) -> None:
    consumer = KafkaConsumer(bootstrap_servers=cli.own.kafka_bootstrap, consumer_timeout_ms=4000)
    partitions = [KafkaPartition(events.PLAYS, p) for p in consumer.partitions_for_topic(events.PLAYS)]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    plays = [(message.key.decode(), json.loads(message.value)) for message in consumer]
    consumer.close()
    assert len(plays) >= 3000
    assert all(key == play["user_id"] for key, play in plays)
    assert {play["event_type"] for _, play in plays} == {"play"}


def test_others_read_the_lake_that_ours_wrote(cli: ContainerCli, store: Minio) -> None:
    uri = f"s3://{cli.own.s3_bucket}/bronze/plays"
    table = DeltaTable(uri, storage_options=options(cli))
    ids = set(table.to_pyarrow_table(columns=["event_id"]).column(0).to_pylist())
    assert len(ids) >= 3000
    assert set(polars.read_delta(uri, storage_options=options(cli))["event_id"]) == ids
    live = set(table.file_uris())
    plain = set()
    for found in store.list_objects(cli.own.s3_bucket, "bronze/plays/year=", recursive=True):
        if f"s3://{cli.own.s3_bucket}/{found.object_name}" in live:
            body = store.get_object(cli.own.s3_bucket, found.object_name).read()
            plain |= set(polars.read_parquet(io.BytesIO(body))["event_id"])
    assert plain == ids


def test_what_others_sent_lands(cli: ContainerCli) -> None:
    event: dict[str, Any] = {
        "event_id": str(uuid.uuid4()),
        "user_id": "written-elsewhere",
        "event_type": "play",
        "track_id": "t-1",
        "track_name": "Lied",
        "artist_name": "Künstler",
        "album_name": None,
        "duration_ms": 180_000,
        "played_at": datetime.now(UTC).isoformat(),
        "device_type": "Computer",
        "not_ours": {"kept": True},
    }
    producer = KafkaProducer(bootstrap_servers=cli.own.kafka_bootstrap)
    producer.send(events.PLAYS, key=b"written-elsewhere", value=json.dumps(event).encode()).get(30)
    producer.send(events.PLAYS, key=b"written-elsewhere", value=b"\xff").get(30)
    producer.close()
    landed = cli.json("land", "--until-idle")
    assert (landed["rows"][events.PLAYS], landed["dead_letters"]) == (1, 1)
    assert_whole(cli)
    found = DeltaTable(f"s3://{cli.own.s3_bucket}/bronze/plays", storage_options=options(cli)).to_pyarrow_table(
        filters=[("user_id", "=", "written-elsewhere")]
    )
    (row,) = found.to_pylist()
    assert (row["event_id"], row["track_name"]) == (event["event_id"], "Lied")
    assert json.loads(row["extra"]) == {"not_ours": {"kept": True}}


def test_objects_of_others_are_read_and_ours_by_them(cli: ContainerCli, store: Minio) -> None:
    from playlake.lake.store import Store

    ours = Store(cli.own)
    store.put_object(cli.own.s3_bucket, "meeting/theirs", io.BytesIO(b"theirs"), 6)
    assert ours.read("meeting/theirs") == b"theirs"
    ours.write("meeting/ours", b"ours")
    assert store.get_object(cli.own.s3_bucket, "meeting/ours").read() == b"ours"


def test_values_of_others_are_got_and_ours_by_them(cli: ContainerCli) -> None:
    from playlake.cache import RedisCache

    assert cli.own.redis_url
    theirs = redis.Redis.from_url(cli.own.redis_url.get_secret_value())
    ours = RedisCache(cli.own, prefix="meeting:")
    theirs.set("meeting:theirs", b"1")
    assert ours.get("theirs") == b"1"
    ours.put("ours", b"2", ttl_s=60)
    assert theirs.get("meeting:ours") == b"2"
    assert 0 < theirs.ttl("meeting:ours") <= 60
    ours.close()
    theirs.close()
