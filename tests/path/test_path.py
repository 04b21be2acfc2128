"""The whole path on real servers, by the commands a person types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import psutil
import pyarrow.dataset as ds
import pytest
import redis
from deltalake import DeltaTable

from playlake.events.ids import same_name
from playlake.lake.options import storage_options
from playlake.warehouse import duck
from tests.support.commands import Cli
from tests.support.exports import history, rows_of
from tests.support.lakes import assert_whole, parquet_files


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return history(tmp_path_factory.mktemp("export"))


ODD = "[a, #b] 'c' \"d\" e\\f *{{g}} 5% $h;i"
"""Each of these has a meaning to a program that is given the home's path."""


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    folder = tmp_path_factory.mktemp("path") / ODD
    folder.mkdir()
    made = Cli(folder / "home")
    yield made
    made("down")
    assert made.processes() == []


@pytest.fixture(scope="module")
def first(cli: Cli, export: Path) -> dict[str, Any]:
    """The first demo on the export. Everything below looks at what it left."""
    return cli.json("demo", "--no-serve", "--history", str(export))


@pytest.fixture(scope="module")
def running(cli: Cli, first: dict[str, Any]) -> Cli:
    """The stack, started again after the demo, which has stopped it."""
    assert cli.processes() == []
    assert cli("status", check=1).code == 1
    cli("up")
    return cli


def test_every_row_of_the_history_is_in_bronze(first: dict[str, Any], export: Path) -> None:
    rows = rows_of(export)
    receipt = first["receipt"]
    assert receipt["read"] == receipt["produced"] == len(rows) == first["produced"] == first["bronze"]
    assert receipt["refused"] == receipt["same"] == receipt["unsettled"] == 0
    assert sum(f["read"] for f in receipt["files"]) == len(rows)
    assert first["dead_letters"] == 0
    assert first["silver"] + first["silver_by_model"]["silver_invalid"] == len(rows)
    named = [r for r in rows if (r["artistName"], r["trackName"]) != ("Unknown Artist", "Unknown Track")]
    songs = {(same_name(r["artistName"]), same_name(r["trackName"])) for r in named}
    assert first["gold"]["track_popularity"] == len(songs)
    assert set(first["seconds"]) == {"up", "produce", "land", "build", "serve"}
    assert set(first["urls"]) == {"api", "dashboard"}


def test_the_cache_has_its_configuration_whatever_the_home_is_called(running: Cli) -> None:
    """Valkey took the path for a pattern, and ran without a password on all interfaces where none fitted."""
    server = psutil.Process(running.pid("cache"))
    assert {c.laddr.ip for c in server.net_connections("tcp") if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    url = running.settings().redis_url
    assert url is not None
    with redis.from_url(url.get_secret_value()) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
    with redis.Redis(port=urlsplit(url.get_secret_value()).port) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_dbt_by_hand_finds_the_file_whatever_the_home_is_called(running: Cli) -> None:
    running("dbt", "test", "--select", "gold_counts_every_play")  # in a file made anew it would fail


def test_importing_again_adds_nothing(running: Cli, export: Path) -> None:
    again = running.json("import", str(export))
    assert again["same"] == again["read"] == len(rows_of(export))
    assert again["produced"] == again["refused"] == 0


def test_verify_finds_nothing_wrong_after_down_and_up(running: Cli, first: dict[str, Any]) -> None:
    report = assert_whole(running)
    assert sum(p["in_log"] for p in report["partitions"]) == first["bronze"]
    assert sum(p["in_bronze"] for p in report["partitions"]) == first["bronze"]


def test_bronze_opens_in_readers_that_are_not_ours(running: Cli, first: dict[str, Any], export: Path) -> None:
    settings = running.settings()
    uri = f"s3://{settings.s3_bucket}/bronze/plays"
    options = storage_options(settings)
    key = ("event_id", "_kafka_partition", "_kafka_offset", "ms_played")

    with duck.connect(settings) as connection:
        in_duckdb = connection.execute(f"select {', '.join(key)} from delta_scan('{uri}')").fetchall()
    in_deltalake = DeltaTable(uri, storage_options=options).to_pyarrow_table(columns=list(key)).to_pylist()
    in_polars = pl.scan_delta(uri, storage_options=options).select(key).collect().rows()
    filesystem, files = parquet_files(running, "bronze/plays")
    in_parquet = ds.dataset(files, filesystem=filesystem, format="parquet").to_table(columns=list(key)).to_pylist()

    expected = sorted(in_duckdb)
    assert len(expected) == first["bronze"]
    assert sorted(in_polars) == expected
    assert sorted(tuple(r[k] for k in key) for r in in_deltalake) == expected
    assert sorted(tuple(r[k] for k in key) for r in in_parquet) == expected
    assert all("/year=" in f and "/month=" in f and "/day=" in f and "/hour=" in f for f in files)
    assert Counter(r[3] for r in expected) == Counter(r["msPlayed"] for r in rows_of(export))


def test_what_the_source_does_not_say_is_null(running: Cli) -> None:
    settings = running.settings()
    with duck.connect(settings) as connection:
        row = connection.execute(
            "select count(album_name), count(duration_ms), count(device_type), count(started_at), count(isrc),"
            " bool_and(starts_with(track_id, 'surrogate:')), count(distinct event_id) = count(*), min(time_precision_s)"
            f" from delta_scan('s3://{settings.s3_bucket}/bronze/plays')"
        ).fetchone()
    assert row == (0, 0, 0, 0, 0, True, True, 60.0)
