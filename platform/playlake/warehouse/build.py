"""Building the warehouse: dbt in a DuckDB file of its own, at one version of each table of the lake.

What the tests have passed is published (:mod:`playlake.warehouse.publish`); what they have not stays unseen. A build is
one call (:func:`build`), or one call a stage (:func:`begin`, then :func:`run_stage`), as an orchestrator wishes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import filelock

from playlake.errors import PlaylakeError, UsageError
from playlake.settings import Settings
from playlake.warehouse import dbt, definition, duck, publish
from playlake.warehouse.stages import COMMANDS, PUBLISH, Begun, SupersededError, load

Say = Callable[[str], None]
_PATIENCE_S = 300.0
"""How long a stage waits for one of another build to end: nobody sits before it, and it would only be tried again."""


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
    settings: Settings, versions: Mapping[str, int], *, full: bool = False, on_progress: Say | None = None
) -> Built:
    """Run all models and tests, then publish gold. What is new since the published build is taken up, no more.

    :param versions: by the lake's folder (``bronze/plays``), the Delta version to build from.
    :param full: make everything anew, which gives the same tables.
    :raises PlaylakeError: when a model or a test fails; what was published before stays.
    """
    say = on_progress or (lambda _text: None)
    started = time.monotonic()
    with _alone(settings) as home:
        begun = _begin(settings, home, versions, full=full)
        begun.tests = dbt.passed(_dbt(settings, home, begun, ["build"], say))
        built = _publish(home, begun, say)
    built.seconds = time.monotonic() - started
    return built


def begin(settings: Settings, versions: Mapping[str, int], *, on_progress: Say | None = None) -> Begun:
    """Begin a build in stages: from here on, an older one that has not been published never will be."""
    say = on_progress or (lambda _text: None)
    with _alone(settings, waiting=say) as home:
        return _begin(settings, home, versions)


def run_stage(settings: Settings, build_id: str, stage: str, *, on_progress: Say | None = None) -> Begun | Built:
    """Run one stage of the build ``build_id``; the last one, ``publish``, returns what was built.

    Running a stage again is safe. The stages after it are then to be run again too.

    :raises SupersededError: when another build was begun since: its data is as new or newer.
    :raises UsageError: when there is no such build.
    :raises PlaylakeError: when a model or a test fails, or an earlier stage has not been passed.
    """
    say = on_progress or (lambda _text: None)
    started = time.monotonic()
    with _alone(settings, waiting=say) as home:
        begun = load(home)
        if begun and build_id in begun.former:
            raise SupersededError(
                f"The build {build_id} is not the latest: {begun.id} was begun after it, with data as new or newer."
                " Nothing is to be done."
            )
        if begun is None or begun.id != build_id:
            raise UsageError(f"There is no build {build_id[:40]!r}. `playlake build --stage begin` names a new one.")
        begun.require(stage)
        if stage == PUBLISH:
            built = _publish(home, begun, say)
            built.seconds = time.monotonic() - started
            return built
        begun.reopen(stage)
        begun.save(home)
        begun.passed(stage, dbt.passed(_dbt(settings, home, begun, COMMANDS[stage], say)))
        begun.save(home)
    return begun


def has_news(settings: Settings, versions: Mapping[str, int]) -> bool:
    """Whether a build would publish anything else than the last one: another state of the lake, or other models."""
    home = folder(settings)
    published, made = publish.current(home), definition.load(home)
    return (
        published is None
        or published.seen != versions
        or made is None
        or not made.whole
        or made.fingerprint != definition.fingerprint(settings)
    )


def rollback(settings: Settings) -> publish.Current:
    """Serve the build before the current one again, until the lake or the models have changed."""
    with _alone(settings) as home:
        return publish.rollback(home)


@contextmanager
def _alone(settings: Settings, *, waiting: Say | None = None) -> Iterator[Path]:
    """The warehouse's folder, with nobody else building in it; with ``waiting``, another's end is waited for."""
    home = folder(settings)
    home.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(home / "build.lock")
    try:
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            if not waiting:
                raise
            waiting("waiting for another build to end")
            lock.acquire(timeout=_PATIENCE_S)
    except filelock.Timeout as error:
        raise PlaylakeError(
            f"Another build of {home} is running. One build at a time: wait for it, then run this again."
        ) from error
    try:
        yield home
    finally:
        lock.release()


def _database(home: Path) -> Path:
    return home / "spotify_data.duckdb"


def _begin(settings: Settings, home: Path, versions: Mapping[str, int], *, full: bool = False) -> Begun:
    begun = Begun.new(versions, load(home))
    fingerprint, before = definition.fingerprint(settings), definition.load(home)
    begun.full = full or before is None or before.needs_all(fingerprint, versions) or not _database(home).is_file()
    published = publish.current(home)
    begun.published = published.build if published and not begun.full else 0
    begun.save(home)  # first of all: from now on an older build in stages must not go on
    # Half-made tables of a build that fails on the way are as good as none, if it was to make them all anew.
    definition.Definition(fingerprint, dict(versions), whole=not begun.full).save(home)
    _pin_bronze(settings, _database(home), versions)
    return begun


def _dbt(settings: Settings, home: Path, begun: Begun, command: Sequence[str], say: Say) -> list[dict[str, Any]]:
    environment = {
        **definition.variables(settings),
        "DBT_PLAYLAKE_BUILD_NUMBER": str(begun.number),
        "DBT_PLAYLAKE_PUBLISHED_BUILD": str(begun.published),
    }
    anew = ["--full-refresh"] if begun.full and command[0] != "test" else []
    return dbt.run(settings, home, _database(home), [*command, *anew], say, environment)


def _publish(home: Path, begun: Begun, say: Say) -> Built:
    say("publishing")
    built = _counts(_database(home))
    built.version = publish.publish(home, _database(home), begun.versions, begun.number)
    if made := definition.load(home):
        replace(made, whole=True).save(home)
    built.tests = begun.tests
    built.versions = dict(begun.versions)
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


def _counts(database: Path) -> Built:
    with duck.closing(duckdb.connect(str(database), read_only=True)) as connection:
        connection.execute("set timezone = 'UTC'")
        names = connection.execute(
            "select schema_name, table_name from duckdb_tables() where schema_name in ('silver', 'gold')"
            " union all select schema_name, view_name from duckdb_views() where schema_name = 'silver'"
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
