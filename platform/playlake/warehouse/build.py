"""Building the warehouse: dbt in a DuckDB file of its own, at one version of each table of the lake.

What the tests have passed is published (:mod:`playlake.warehouse.publish`); what they have not stays unseen.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import filelock

from playlake.errors import PlaylakeError
from playlake.settings import ROOT, Settings
from playlake.warehouse import duck, publish

DBT = ROOT / "dbt"
SILVER = ("silver_plays", "silver_skips", "silver_likes", "silver_invalid")


@dataclass(slots=True)
class Built:
    """What a build made. Rows by model; ``versions`` of the lake's tables it was made from."""

    version: int
    bronze: int
    silver: dict[str, int] = field(default_factory=dict)
    gold: dict[str, int] = field(default_factory=dict)
    dead_letters: int = 0
    tests: int = 0
    versions: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def folder(settings: Settings) -> Path:
    """Where the warehouse's files are."""
    return settings.home_path / "warehouse"


def build(
    settings: Settings, versions: Mapping[str, int], *, on_progress: Callable[[str], None] | None = None
) -> Built:
    """Run all models and tests, then publish gold.

    :param versions: by the lake's folder (``bronze/plays``), the Delta version to build from.
    :raises PlaylakeError: when a model or a test fails; what was published before stays.
    """
    say = on_progress or (lambda _text: None)
    started = time.monotonic()
    home = folder(settings)
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(home / "build.lock", timeout=0)
        with lock:
            database = home / "spotify_data.duckdb"
            _pin_bronze(settings, database, versions)
            tests = _run_dbt(settings, database, say)
            say("publishing")
            built = _counts(database)
            built.version = publish.publish(home, database, versions)
    except filelock.Timeout as error:
        raise PlaylakeError(
            f"Another build of {home} is running. One build at a time: wait for it, then run this again."
        ) from error
    built.tests = tests
    built.versions = dict(versions)
    built.seconds = time.monotonic() - started
    return built


def _pin_bronze(settings: Settings, database: Path, versions: Mapping[str, int]) -> None:
    """Show each table of the lake to dbt as a view at one version, so that a whole build sees one state."""
    try:
        connection = duckdb.connect(str(database))
    except duckdb.IOException as error:
        raise PlaylakeError(
            f"{database} can't be opened ({' '.join(str(error).split())[:200]}). It is dbt's own file: close what else"
            " has it open. If it is damaged, delete it: the next build makes it anew from the lake."
        ) from error
    with duck.closing(connection):
        duck.configure(connection, settings)
        connection.execute("create schema if not exists bronze")
        for path, version in versions.items():
            table = path.rpartition("/")[2]
            connection.execute(
                f"create or replace view bronze.{table} as"
                f" select * from delta_scan('s3://{settings.s3_bucket}/{path}', version={int(version)})"
            )


def _run_dbt(settings: Settings, database: Path, say: Callable[[str], None]) -> int:
    """``dbt build``; returns the number of tests that passed."""
    home = folder(settings)
    target, logs = home / "target", settings.home_path / "logs" / "dbt"
    command = [
        sys.executable,
        "-c",
        "from dbt.cli.main import cli; cli()",
        "--log-format",
        "json",
        "build",
        "--target",
        "local",
    ]
    paths = ["--project-dir", DBT, "--profiles-dir", DBT, "--target-path", target, "--log-path", logs]
    environment = {
        **os.environ,
        **settings.environment(),
        "DBT_PLAYLAKE_DATABASE": str(database),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
    }
    started = time.time()
    # Its own working folder would be searched for a .env and a dbt_project; ours is where the settings were read.
    process = subprocess.Popen(
        [*command, *map(str, paths)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    last: list[str] = []
    try:
        assert process.stdout is not None  # noqa: S101 - asked for above
        for line in process.stdout:
            text = _message(line)
            if text:
                last = [*last, text][-12:]
                say(text)
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    results = _results(target / "run_results.json", started)
    failed = [r for r in results if r["status"] in ("error", "fail")]
    if code or failed:
        raise PlaylakeError(_failure(failed, last, logs))
    return sum(r["status"] in ("pass", "warn") for r in results)


def _message(line: str) -> str:
    try:
        found: dict[str, Any] = json.loads(line)["info"]
    except (ValueError, KeyError, TypeError):
        return line.strip()
    text = str(found.get("msg", "")).strip()
    if found.get("level") == "debug":
        return ""
    # A hundred models and tests are one stage with a count, not two hundred lines.
    node = re.match(r"(\d+) of (\d+) (START|PASS|OK)", text)
    return f"models and tests: {node[1]} of {node[2]}" if node else text


def _results(path: Path, since: float) -> list[dict[str, Any]]:
    try:
        if path.stat().st_mtime < since - 1:
            return []
        found: list[dict[str, Any]] = json.loads(path.read_text())["results"]
    except (OSError, ValueError, KeyError):
        return []
    return found


def _failure(failed: list[dict[str, Any]], last: list[str], logs: Path) -> str:
    if failed:
        names = ", ".join(str(r["unique_id"]).split(".")[2] for r in failed[:5])
        more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
        first = " ".join(str(failed[0].get("message") or "").split())[:300]
        what = f"{len(failed)} of its models and tests failed: {names}{more}. The first says: {first}"
    else:
        what = "dbt ended before it ran a model. Its last words: " + " ".join(" ".join(last).split())[-400:]
    return (
        f"The build was not published; {what}\nWhat was published before is still served. Details: {logs / 'dbt.log'}"
    )


def _counts(database: Path) -> Built:
    with duck.closing(duckdb.connect(str(database), read_only=True)) as connection:
        connection.execute("set timezone = 'UTC'")
        names = connection.execute(
            "select schema_name, table_name from duckdb_tables() where schema_name in ('silver', 'gold')"
            " order by table_name"
        ).fetchall()
        rows = {
            (schema, table): _scalar(connection, f'select count(*) from "{schema}"."{table}"')
            for schema, table in names
        }
    built = Built(version=0, bronze=0)
    built.silver = {t: n for (s, t), n in rows.items() if s == "silver"}
    built.gold = {t: n for (s, t), n in rows.items() if s == "gold"}
    return built


def _scalar(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
