"""Building the warehouse: dbt on a target (:mod:`playlake.warehouse.target`), at one version of each table of the lake.

What the tests have passed is published (:mod:`playlake.warehouse.publish`); what they have not stays unseen. A build is
one call (:func:`build`), or one call a stage (:func:`begin`, then :func:`run_stage`), as an orchestrator wishes.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from playlake.errors import PlaylakeError, UsageError
from playlake.settings import Settings
from playlake.warehouse import dbt, publish, target
from playlake.warehouse.stages import COMMANDS, PUBLISH, Begun, SupersededError, load
from playlake.warehouse.target import Target

if TYPE_CHECKING:
    from playlake.warehouse.snowflake.bronze import LiveFiles

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
    target: str = "local"
    seconds: float = 0.0


def folder(settings: Settings) -> Path:
    """Where the warehouse's files are."""
    return settings.home_path / "warehouse"


def build(
    settings: Settings,
    versions: Mapping[str, int],
    *,
    live: LiveFiles | None = None,
    on_progress: Say | None = None,
) -> Built:
    """Run all models and tests, then publish gold.

    :param versions: by the lake's folder (``bronze/plays``), the Delta version to build from.
    :param live: what the lake's log says of a version; the target ``cloud`` needs it.
    :raises PlaylakeError: when a model or a test fails; what was published before stays.
    """
    say = on_progress or (lambda _text: None)
    started = time.monotonic()
    with _alone(settings) as home:
        begun = _begin(settings, home, versions, live, say)
        where = target.of(settings, home, begun.target)
        begun.tests = dbt.passed(dbt.run(settings, where, ["build"], say))
        built = _publish(where, home, begun, say)
    built.seconds = time.monotonic() - started
    return built


def begin(
    settings: Settings,
    versions: Mapping[str, int],
    *,
    live: LiveFiles | None = None,
    on_progress: Say | None = None,
) -> Begun:
    """Begin a build in stages: from here on, an older one that has not been published never will be."""
    say = on_progress or (lambda _text: None)
    with _alone(settings, waiting=say) as home:
        return _begin(settings, home, versions, live, say)


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
        where = target.of(settings, home, begun.target)
        if stage == PUBLISH:
            built = _publish(where, home, begun, say)
            built.seconds = time.monotonic() - started
            return built
        begun.reopen(stage)
        begun.save(home)
        begun.passed(stage, dbt.passed(dbt.run(settings, where, COMMANDS[stage], say)))
        begun.save(home)
    return begun


def documented(settings: Settings, *, on_progress: Say | None = None) -> Path:
    """Write dbt's documentation of the project, with the types of what is built; returns its one page.

    Where nothing is built, or its servers are away, it is the project's own words alone.
    """
    say = on_progress or (lambda _text: None)
    outcome = "The documentation was not written"
    with _alone(settings, waiting=say) as home:
        where = target.of(settings, home, settings.target)
        bare: list[str] = []
        if not where.can_be_read():  # without a compilation and a catalog dbt connects to nothing
            bare = ["--no-compile", "--empty-catalog"]
            dbt.run(settings, where, ["parse"], say, outcome=outcome)
        dbt.run(settings, where, ["docs", "generate", "--static", *bare], say, outcome=outcome)
        page = home / "docs" / "index.html"
        page.parent.mkdir(exist_ok=True)
        shutil.copyfile(where.target_path / "static_index.html", page)
    return page


def run_dbt(settings: Settings, arguments: Sequence[str], *, quiet: bool = False) -> int:
    """Run dbt by hand on the target of the settings, with its own output; returns its exit code.

    :param quiet: its output goes to standard error, and leaves standard output to others.
    """
    with _alone(settings) as home:
        where = target.of(settings, home, settings.target)
        where.target_path.mkdir(exist_ok=True)
        return dbt.by_hand(settings, where, arguments, quiet=quiet)


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


def _begin(settings: Settings, home: Path, versions: Mapping[str, int], live: LiveFiles | None, say: Say) -> Begun:
    begun = Begun.new(versions, load(home), settings.target)
    where = target.of(settings, home, begun.target)
    begun.save(home)  # first of all: from now on an older build in stages must not go on
    where.pin(versions, live, say)
    return begun


def _publish(where: Target, home: Path, begun: Begun, say: Say) -> Built:
    say("publishing")
    rows = where.counts()
    built = Built(version=0, bronze=0, target=where.name)
    built.silver = {t: n for (s, t), n in rows.items() if s == "silver"}
    built.gold = {t: n for (s, t), n in rows.items() if s == "gold"}
    gold = dbt.contracts(where.target_path, "gold")
    built.version = publish.publish(
        home, lambda into: where.copy_gold(into, gold, begun.versions), begun.versions, target=where.name
    )
    built.tests = begun.tests
    built.versions = dict(begun.versions)
    return built
