"""The target ``cloud`` for real against fakesnow's server: set up, built, and equal to ``local`` row for row.

fakesnow is no Snowflake: docs/cloud.md says what it can't show. What it lacks (external tables, integrations, roles,
warehouses) is left out or stood in for by SNOWFLAKE_BRONZE=loaded: the same live files' rows in ordinary tables.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import httpx
import msgspec
import pytest
import sqlglot
from deltalake import DeltaTable, write_deltalake
from sqlglot import exp

from playlake import events
from playlake.broker import Producer
from playlake.lake import tables
from playlake.lake.compact import compact
from playlake.lake.options import storage_options
from playlake.warehouse.publish import current
from playlake.warehouse.reader import GoldReader
from tests.models.warehouse import NOW, play
from tests.support.commands import Cli, end
from tests.support.exports import HISTORY
from tests.support.waiting import DEADLINE_S, wait_for

PASSPHRASE = "nobody-may-read-this"
EVERY_BUILD_OTHERWISE = {"processed_at", "_build", "_first_build"}


def _answers(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def fakesnow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a fakesnow server in a process of its own."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = int(chosen.getsockname()[1])
    log = tmp_path_factory.mktemp("fakesnow") / "log"
    command = [sys.executable, "-m", "fakesnow", "-s", "-p", str(port)]
    with log.open("w") as out:  # what is loaded it keeps below TMPDIR, and does not remove
        environment = {**os.environ, "TMPDIR": str(log.parent)}
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
    try:
        wait_for(lambda: process.poll() is not None or _answers(port))
        assert process.poll() is None, log.read_text()
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(DEADLINE_S)


@dataclass
class Built:
    """One lake, built on both targets."""

    cli: Cli
    local: Any
    cloud: Any
    said: str


@pytest.fixture(scope="module")
def built(cli: Cli, fakesnow: int) -> Built:
    """Simulated listening, and the real history where there is one, built on DuckDB and on fakesnow."""
    cli.env |= {
        "SNOWFLAKE_ACCOUNT": "fakesnow",
        "SNOWFLAKE_HOST": "127.0.0.1",
        "SNOWFLAKE_PORT": str(fakesnow),
        "SNOWFLAKE_PROTOCOL": "http",
        "SNOWFLAKE_BRONZE": "loaded",
        "SNOWFLAKE_ADMIN_USER": "admin",
        "SNOWFLAKE_ADMIN_PASSWORD": PASSPHRASE,
        "SNOWFLAKE_PRIVATE_KEY_FILE_PWD": PASSPHRASE,
    }
    cli.env |= {"PLAYLAKE_TIME_ZONE": "America/New_York", "PLAYLAKE_COUNTS_AS_PLAY": "half"}
    cli("simulate", "--plays", "3000", "--listeners", "20")
    produce_hard_cases(cli.settings())
    if history := os.environ.get(HISTORY):
        cli("import", history)
    cli("land", "--until-idle")
    first = cli("cloud", "setup", "--json")
    again = cli("cloud", "setup", "--json")
    assert first.json["key_made"]
    assert not again.json["key_made"]
    assert again.json["statements"] == first.json["statements"]
    local = cli.json("build")
    cloud = cli("build", "--target", "cloud", "--json")
    said = "".join((first.out, first.err, again.err, cloud.out, cloud.err))
    return Built(cli, local, cloud.json, said)


def produce_hard_cases(settings: Any) -> None:
    """What simulated listening has none of: several sources, invalid events, copies, dead letters, a player seen."""
    made: list[events.Event] = []
    for n in range(20):
        at = f"2025-03-{n + 1:02} 23:59:40"  # the export's record is of the next minute, and of the next day
        made.append(play(at, user_id="two", source="listenbrainz", track_id=f"lb{n}", track_name=f"Song {n % 7}"))
        at = f"2025-03-{n + 2:02} 00:00:00"
        record = {"source": "export_account", "time_precision_s": 60.0, "duration_ms": None, "track_id": f"ex{n}"}
        made.append(play(at, user_id="two", track_name=f"song {n % 7} ", ms_played=190_000, **record))
    made.append(play("2025-03-01 10:00:00", user_id="two", source=None, track_id="nobody says", track_name="Un"))
    made.append(play("2025-03-01 10:00:10", user_id="two", source="lastfm", track_id="fm", track_name="Un"))
    made += [play("2025-03-01 10:00:00", user_id="bad", track_id=f"b{ms}", ms_played=ms) for ms in (-1, 3_000_000_000)]
    made.append(play("2025-03-01 10:00:00", user_id=" "))
    seen = [
        events.CurrentlyPlaying(
            user_id="two",
            track_id=f"t{n // 2}",
            track_name="Title",
            artist="Artist",
            started_at=NOW,
            detected_at=NOW + timedelta(seconds=5 * n),
        )
        for n in range(5)
    ]
    with Producer(settings) as producer:
        for event in [*made, *made[:5]]:
            producer.send(events.PLAYS, event.user_id, events.encode(event))
        for player in seen:
            producer.send(events.NOW_PLAYING, player.user_id, events.encode(player))
        for year in (1970, 1971, 1972):
            old = msgspec.structs.replace(made[0], played_at=datetime(year, 1, 1, tzinfo=UTC))
            producer.send(events.PLAYS, "two", events.encode(old))
        producer.send(events.PLAYS, "two", b"{")


def connection(cli: Cli) -> Any:
    """A client of the test's own."""
    import snowflake.connector

    return snowflake.connector.connect(
        **{"user": "test", "password": "test", "account": "fakesnow", "database": "SPOTIFY_DATA"},
        **{"host": "127.0.0.1", "port": int(cli.env["SNOWFLAKE_PORT"]), "protocol": "http"},
        session_parameters={"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False},
    )


def warehouse(cli: Cli) -> Path:
    return cli.home / "warehouse"


def models(cli: Cli) -> list[tuple[str, str]]:
    """Schema and name of every model of the project, as dbt's manifest has them."""
    nodes = json.loads((warehouse(cli) / "target-cloud" / "manifest.json").read_text())["nodes"].values()
    found = sorted((n["schema"].lower(), n["name"]) for n in nodes if n["resource_type"] == "model")
    assert {"silver", "gold"} <= {schema for schema, _ in found}
    return found


def test_both_targets_count_the_same(built: Built) -> None:
    for what in ("bronze", "silver", "gold", "dead_letters", "tests", "versions"):
        assert built.cloud[what] == built.local[what], what
    assert (built.local["target"], built.cloud["target"]) == ("local", "cloud")
    assert built.cloud["version"] == built.local["version"] + 1
    assert built.cloud["tests"] > 60
    assert built.cloud["silver"]["silver_plays"] >= 3000
    assert built.cloud["silver"]["silver_merged"] == 21
    assert built.cloud["silver"]["silver_invalid"] == 3
    assert built.cloud["dead_letters"] == 4
    assert built.cloud["gold"]["data_quality"] > 12


_KINDS = {
    "VARCHAR": "text", "BIGINT": "integer", "INTEGER": "integer", "HUGEINT": "integer", "DOUBLE": "float",
    "BOOLEAN": "boolean", "DATE": "date", "TIMESTAMP WITH TIME ZONE": "instant", "TIMESTAMP": "wall clock",
    "TEXT": "text", "FLOAT": "float", "TIMESTAMP_TZ": "instant", "TIMESTAMP_LTZ": "instant",
    "TIMESTAMP_NTZ": "wall clock",
}  # fmt: skip


def _kind(name: str, scale: object) -> str:
    return ("integer" if scale == 0 else "decimal") if name == "NUMBER" else _KINDS.get(name, name)


def _same(a: object, b: object) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
    return a == b


def assert_the_same(cli: Cli) -> int:
    """Every table and view of the project has the same rows and kinds of columns on both targets; returns the rows."""
    compared = 0
    with (
        duckdb.connect(str(warehouse(cli) / "spotify_data.duckdb"), read_only=True) as local,
        connection(cli) as cloud,
    ):
        local.execute("set timezone = 'UTC'")
        for schema, table in models(cli):
            mine = dict(
                local.execute(
                    "select column_name, data_type from information_schema.columns"
                    " where table_schema = ? and table_name = ? order by ordinal_position",
                    [schema, table],
                ).fetchall()
            )
            found = cloud.cursor().execute(
                "SELECT column_name, data_type, numeric_scale FROM information_schema.columns"
                f" WHERE table_schema = '{schema.upper()}' AND table_name = '{table.upper()}' ORDER BY ordinal_position"
            )
            theirs = {str(name).lower(): _kind(kind, scale) for name, kind, scale in found}
            assert theirs == {name: _kind(kind, None) for name, kind in mine.items()}, table

            columns = [name for name in mine if name not in EVERY_BUILD_OTHERWISE]
            # fakesnow's server sends a time that is null as 1970-01-01: whether it is null is asked beside it.
            times = [c for c in columns if _kind(mine[c], None) in ("instant", "wall clock")]
            asked = [*columns, *(f"{c} IS NULL AS {c}_is_null" for c in times)]
            cursor = cloud.cursor().execute(f"SELECT {', '.join(asked)} FROM {schema}.{table}")
            rows = cursor.fetch_arrow_all(force_return_table=True, force_microsecond_precision=True)
            local.register("theirs", rows.rename_columns([*columns, *(f"{c}_is_null" for c in times)]))
            nulls = ", ".join(f'case when not "{c}_is_null" then "{c}" end as "{c}"' for c in times)
            replacing = f"replace ({nulls})" if times else ""
            # Floats last: a last digit must not bring the rows into another order.
            order = ", ".join(f'"{c}"' for c in sorted(columns, key=lambda c: _kind(mine[c], None) == "float"))
            cast = ", ".join(f'cast("{c}" as {mine[c]}) as "{c}"' for c in columns)
            ours = local.execute(f'select {cast} from {schema}."{table}" order by {order}').fetchall()
            others = local.execute(
                f"select * from (select {cast} from (select * {replacing} from theirs)) order by {order}"
            ).fetchall()
            local.unregister("theirs")
            assert len(ours) == len(others), table
            for a, b in zip(ours, others, strict=True):
                assert all(map(_same, a, b)), (
                    f"{schema}.{table}: {dict(zip(columns, zip(a, b, strict=True), strict=True))}"
                )
            compared += len(ours)
    return compared


def test_every_table_of_silver_and_gold_is_the_same_row_for_row(built: Built) -> None:
    assert assert_the_same(built.cli) > 6_000


def test_what_is_read_is_the_build_of_the_cloud(built: Built) -> None:
    published = current(warehouse(built.cli))
    assert published is not None
    assert (published.version, published.target) == (built.cloud["version"], "cloud")
    with duckdb.connect(str(published.path), read_only=True) as gold:
        read = (
            "select table_name, column_name, data_type from information_schema.columns where table_schema = 'gold'"
            " and table_name in (select table_name from duckdb_tables() where schema_name = 'gold')"
        )
        columns = sorted(gold.execute(read).fetchall())
    with duckdb.connect(str(warehouse(built.cli) / "spotify_data.duckdb"), read_only=True) as local:
        assert columns == sorted(local.execute(read).fetchall())
    reader = GoldReader(warehouse(built.cli))
    overview = reader.query("overview")[0]
    reader.close()
    with duckdb.connect(str(warehouse(built.cli) / "spotify_data.duckdb"), read_only=True) as local:
        [(counted,)] = local.execute("select count(*) from gold.counted_plays").fetchall()
    assert 0 < overview["total_plays"] == counted < built.local["silver"]["silver_plays"]


_DUCKDB_ONLY = {
    "arg_max", "arg_min", "bool_and", "bool_or", "date_diff", "date_sub", "epoch", "epoch_ms", "epoch_us",
    "generate_series", "isodow", "len", "list", "list_aggregate", "list_contains", "list_value", "make_timestamp",
    "mode", "product", "quantile_cont", "range", "read_parquet", "regexp_extract", "string_agg", "string_split",
    "strftime", "strptime", "struct_pack", "timezone", "unnest", "delta_scan",
}  # fmt: skip


def test_all_compiled_sql_is_snowflakes(built: Built) -> None:
    """fakesnow runs on DuckDB and lets DuckDB's own functions through; Snowflake would not."""
    files = sorted((warehouse(built.cli) / "target-cloud" / "compiled").rglob("*.sql"))
    assert len(files) > 100
    for file in files:
        text = re.sub(r"--.*|/\*.*?\*/", "", file.read_text(), flags=re.DOTALL if "/*" in file.read_text() else 0)
        functions = {name.lower() for name in re.findall(r"\b([a-z_]+)\s*\(", text, re.IGNORECASE)}
        assert functions & _DUCKDB_ONLY == set(), file.name
        parsed = sqlglot.parse_one(text, read="snowflake")
        assert not isinstance(parsed, exp.Command), file.name
        assert not list(parsed.find_all(exp.Filter)), f"{file.name}: FILTER (WHERE …)"
        assert not [d for d in parsed.find_all(exp.Distinct) if d.args.get("on")], f"{file.name}: DISTINCT ON"
        for function in parsed.find_all(exp.Func):
            assert not isinstance(function.expression, exp.Tuple), f"{file.name}: a row as an argument"


def test_no_secret_is_in_what_was_said_or_written(built: Built) -> None:
    key = built.cli.home / "run" / "snowflake_key.p8"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    body = key.read_text().splitlines()[2]
    assert key.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    for secret in (PASSPHRASE, body):
        assert secret not in built.said
        written = [
            p for d in ("logs", "warehouse/target-cloud") for p in (built.cli.home / d).rglob("*") if p.is_file()
        ]
        assert len(written) > 100
        assert [str(p) for p in written if secret.encode() in p.read_bytes()] == []


@pytest.mark.parametrize("name", ["local", "cloud"])
def test_dbt_by_hand_tells_the_freshness_of_bronze(built: Built, name: str) -> None:
    done = built.cli.run("dbt", "source", "freshness", "--target", name, "--json")
    assert done.json == {"arguments": ["source", "freshness"], "code": 0}
    path = warehouse(built.cli) / ("target" if name == "local" else "target-cloud") / "sources.json"
    sources = json.loads(path.read_text())["results"]
    assert [(r["unique_id"].rpartition(".")[2], r["status"]) for r in sources] == [("plays", "pass")]


def test_the_documentation_is_served_until_ctrl_c(built: Built) -> None:
    process = built.cli.start("docs", "--json")
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    page = httpx.get(url).text
    done = end(process)
    assert (done.code, done.out) == (0, "")
    assert url.startswith("http://127.0.0.1:")
    for word in ("exposure.spotify_analytics.dashboard", "The plays that count", "TIMESTAMP WITH TIME ZONE"):
        assert word in page, word
    # Its scripts are in it: it asks nobody else for anything.
    assert re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="?https?:', page) == []


def test_bronze_follows_the_log_through_a_compaction(built: Built) -> None:
    """It moves the lake on: so it comes late. Rewritten files are seen once; a build in stages stays on its target."""
    cli = built.cli
    settings = cli.settings()
    table = DeltaTable(f"s3://{settings.s3_bucket}/bronze/likes", storage_options=storage_options(settings))
    before = len(table.file_uris())
    rows = table.to_pyarrow_table()
    write_deltalake(table, rows.slice(0, 100), mode="overwrite")
    write_deltalake(table, rows.slice(100), mode="append")
    begun = cli.json("build", "--stage", "begin", "--target", "cloud")
    assert begun["versions"]["bronze/likes"] == built.cloud["versions"]["bronze/likes"] + 2
    shown = {t["folder"]: t for t in cli.json("cloud", "status")["tables"]}
    assert shown["bronze/likes"]["version"] == begun["versions"]["bronze/likes"]
    assert shown["bronze/likes"]["rows"] == rows.num_rows == built.cloud["silver"]["silver_likes"]
    assert shown["bronze/likes"]["files"] > before
    assert shown["bronze/plays"]["version"] == built.cloud["versions"]["bronze/plays"]
    with connection(cli) as cloud:
        count = cloud.cursor().execute("SELECT COUNT(*), COUNT(DISTINCT event_id) FROM BRONZE.LIKES").fetchone()
    assert count == (rows.num_rows, rows.num_rows)
    done = cli("build", "--stage", "silver", "--of", begun["build"], "--target", "local", check=2)
    assert "where it was begun" in done.err
    # And so it is when the lake's own compaction comes between two builds, which changes nothing on the other target.
    assert compact(settings, tables.bronze(settings, events.LIKES), older_than_s=-7200).rows == rows.num_rows
    begun = cli.json("build", "--stage", "begin", "--target", "cloud")
    assert begun["versions"]["bronze/likes"] == built.cloud["versions"]["bronze/likes"] + 3
    shown = {t["folder"]: t for t in cli.json("cloud", "status")["tables"]}
    assert (shown["bronze/likes"]["files"], shown["bronze/likes"]["rows"]) == (1, rows.num_rows)
    with connection(cli) as cloud:
        count = cloud.cursor().execute("SELECT COUNT(*), COUNT(DISTINCT event_id) FROM BRONZE.LIKES").fetchone()
    assert count == (rows.num_rows, rows.num_rows)


def test_what_is_new_is_taken_up_alike(built: Built) -> None:
    """Last: plays of last year, and of the same listeners again, on top of what both targets have built."""
    cli = built.cli
    cli("simulate", "--plays", "600", "--listeners", "20", "--seed", "9", "--end", "2025-06-01")
    cli("land", "--until-idle")
    local, cloud = cli.json("build"), cli.json("build", "--target", "cloud")
    assert local["silver"] == cloud["silver"]
    assert local["silver"]["silver_plays"] == built.local["silver"]["silver_plays"] + 600
    assert assert_the_same(cli) > 7_000
