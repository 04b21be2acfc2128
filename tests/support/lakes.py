"""Lakes on running servers: settings to reach them, what is in them, what the verifier finds."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import s3fs

from playlake import events
from playlake.lake import tables
from playlake.lake.options import storage_options
from playlake.lake.store import Store
from playlake.settings import Settings, load_settings
from playlake.warehouse import duck
from playlake.warehouse.build import folder
from playlake.warehouse.publish import current
from tests.support.commands import Cli
from tests.support.s3_proxy import S3Proxy


def addressed(settings: Settings, **changes: Any) -> Settings:
    """A running embedded stack as servers that somebody else runs: some of its addresses may then be other ones."""
    ports = {"broker_port": 0, "s3_port": 0, "redis_port": 0}
    return settings.model_copy(update={"profile": "containers", **ports, **changes})


def lake_of_its_own(settings: Settings, folder: Path) -> Settings:
    """The same servers with another bucket and home."""
    return settings.model_copy(update={"s3_bucket": f"lake-{uuid.uuid4().hex[:12]}", "home": folder / "home"})


def drop_bucket(settings: Settings) -> None:
    """Remove the lake's bucket with all that is in it, and the room that the store keeps for it."""
    with suppress(FileNotFoundError):
        Store(settings)._fs.rm(settings.s3_bucket, recursive=True)


def assert_whole(cli: Cli, *, pending: int | None = 0) -> Any:
    """``lake verify`` finds nothing wrong; returns its report."""
    report = cli.json("lake", "verify")
    assert (report["lost"], report["doubled"], report["unreadable"], report["misplaced"]) == (0, 0, 0, 0)
    if pending is not None:
        assert report["pending"] == pending
    return report


def bronze_ids(cli: Cli) -> list[str]:
    """Every event id in the bronze plays, with repeats."""
    settings = cli.settings()
    with duck.connect(settings) as connection:
        uri = f"s3://{settings.s3_bucket}/{tables.FOLDERS[events.PLAYS]}"
        return [r[0] for r in connection.execute(f"select event_id from delta_scan('{uri}')").fetchall()]


def parquet_files(cli: Cli, folder: str) -> tuple[s3fs.S3FileSystem, list[str]]:
    """A client of the lake's store that is not ours, and the Parquet files below a folder."""
    settings = cli.settings()
    options = storage_options(settings)
    filesystem = s3fs.S3FileSystem(
        key=options["AWS_ACCESS_KEY_ID"],
        secret=options["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=settings.s3_endpoint,
        skip_instance_cache=True,
    )
    return filesystem, [f for f in filesystem.find(f"{settings.s3_bucket}/{folder}") if f.endswith(".parquet")]


def plays_of(cli: Cli, user: str) -> int:
    """What published gold counts of a listener."""
    build = current(folder(load_settings(_env_file=None, home=cli.home)))
    assert build
    with duckdb.connect(str(build.path), read_only=True) as gold:
        found = gold.execute(
            "select coalesce(sum(total_plays), 0) from gold.user_daily_listening where user_id = ?", [user]
        )
        return int(found.fetchall()[0][0])


@contextmanager
def store_behind_proxy(cli: Cli, **settings: object) -> Iterator[tuple[S3Proxy, Cli]]:
    """A proxy in front of a stack's store, and commands whose store it is. The broker's own way to the store is none
    of the proxy's: what goes wrong there is no fault of a writer."""
    with S3Proxy(cli.settings().s3_endpoint) as store:
        through = Cli(cli.home)
        through.env |= addressed(cli.settings(), s3_endpoint=store.url, **settings).environment()
        yield store, through
