"""Building the warehouse: dbt on a target (:mod:`playlake.warehouse.target`), at one version of each table of the lake.

What the tests have passed is published (:mod:`playlake.warehouse.publish`); what they have not stays unseen. A build is
one call (:func:`build`), or one call a stage (:func:`begin`, then :func:`run_stage`), as an orchestrator wishes.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from playlake.errors import PlaylakeError, UsageError
from playlake.settings import Settings
from playlake.warehouse import dbt, definition, publish, target, unchanged
from playlake.warehouse.stages import COMMANDS, PUBLISH, Begun, SupersededError, load
from playlake.warehouse.target import Target

if TYPE_CHECKING:
    from playlake.warehouse.snowflake.bronze import LiveFiles

Say = Callable[[str], None]
SameRows = Callable[[str, int, int], bool]
_HOLDER = "build.pid"
"""Names the process that builds."""
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
    mark: str = "",
    full: bool = False,
    on_progress: Say | None = None,
) -> Built:
    """Run all models and tests, then publish gold. What is new since the published build is taken up, no more.

    Where nothing is new at all, and the tables are as the last build has left them, dbt has nothing to do: they are
    published again.

    :param versions: by the lake's folder (``bronze/plays``), the Delta version to build from.
    :param mark: of the lake's state (:func:`playlake.lake.tables.look`); without it, something is new.
    :param full: make everything anew, which gives the same tables.
    :param live: what the lake's log says of a version; the target ``cloud`` needs it.
    :raises PlaylakeError: when a model or a test fails; what was published before stays.
    """
    say = on_progress or (lambda _text: None)
    started = time.monotonic()
    with alone(settings) as home:
        where = target.of(settings, home, settings.target)
        key = unchanged.key(settings, versions, mark) if mark else ""
        begun = None if full else _as_published(home, where, key)
        if begun is None:
            begun = _begin(settings, home, versions, live, say, full=full)
            begun.tests = dbt.passed(_dbt(settings, where, begun, ["build"], say))
            begun.save(home)
        else:
            say("nothing is new since the last build; its tables are published again")
        built = _publish(where, home, begun, say)
        # Not so after stages: what each was run by is not known, be it another time zone.
        unchanged.Published(key, begun.number).save(home, where.name)
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
    with alone(settings, waiting=say) as home:
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
    with alone(settings, waiting=say) as home:
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
        unchanged.forget(home, begun.target)
        begun.reopen(stage)
        begun.save(home)
        begun.passed(stage, dbt.passed(_dbt(settings, where, begun, COMMANDS[stage], say)))
        begun.save(home)
    return begun


def documented(settings: Settings, *, on_progress: Say | None = None) -> Path:
    """Write dbt's documentation of the project, with the types of what is built; returns its one page.

    Where nothing is built, or its servers are away, it is the project's own words alone.
    """
    say = on_progress or (lambda _text: None)
    outcome = "The documentation was not written"
    with alone(settings, waiting=say) as home:
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


def has_news(settings: Settings, versions: Mapping[str, int], same_rows: SameRows | None = None) -> bool:
    """Whether a build would publish anything else than the last one: another state of the lake, or other models.

    :param same_rows: whether a folder has the same rows at two versions, as after a compaction. On Snowflake that is
        news all the same: its tables are to name the new files before the old ones are pruned.
    """
    home = folder(settings)
    published, made = publish.current(home), definition.load(home, settings.target)
    if published is None or published.target != settings.target:
        return True
    same = same_rows if same_rows and settings.target == "local" else _never
    return (
        published.seen.keys() != versions.keys()
        or any(
            version != published.seen[f] and not same(f, published.seen[f], version) for f, version in versions.items()
        )
        or made is None
        or not made.whole
        or made.fingerprint != definition.fingerprint(settings)
    )


def _never(_folder: str, _since: int, _until: int) -> bool:
    return False


def rollback(settings: Settings) -> publish.Current:
    """Serve the build before the current one again: there is no news (:func:`has_news`) until the lake or the models
    have changed. A :func:`build` builds and publishes whatever there is.
    """
    with alone(settings) as home:
        return publish.rollback(home)


@contextmanager
def alone(settings: Settings, *, waiting: Say | None = None) -> Iterator[Path]:
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
            f"Another build of {home} is running{_by_whom(home)}. One build at a time:"
            " wait for it, then run this again."
        ) from error
    holder = home / _HOLDER
    holder.write_text(str(os.getpid()))
    try:
        yield home
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _by_whom(home: Path) -> str:
    """The process that builds, in words; nothing where it has ended meanwhile."""
    try:
        return f" (process {int((home / _HOLDER).read_text())})"
    except (OSError, ValueError):
        return ""


def _begin(
    settings: Settings,
    home: Path,
    versions: Mapping[str, int],
    live: LiveFiles | None,
    say: Say,
    *,
    full: bool = False,
) -> Begun:
    begun = Begun.new(versions, load(home), settings.target)
    where = target.of(settings, home, begun.target)
    fingerprint, before = definition.fingerprint(settings), definition.load(home, begun.target)
    begun.full = full or before is None or before.needs_all(fingerprint, versions)
    published = publish.current(home)
    since: dict[str, int] = {}
    if published and published.target == begun.target and not begun.full:
        begun.published, since = published.build, published.lake_versions
    unchanged.forget(home, begun.target)
    begun.save(home)  # first of all: from now on an older build in stages must not go on
    # Half-made tables of a build that fails on the way are as good as none, if it was to make them all anew.
    definition.Definition(fingerprint, dict(versions), whole=not begun.full).save(home, begun.target)
    where.pin(versions, since, live, say)
    return begun


def _as_published(home: Path, where: Target, key: str) -> Begun | None:
    """The build that was published last, where this one would make the same of the same, and its tables are here."""
    if where.name != "local" or not key:  # what others have done in a shared warehouse is not known here
        return None
    published, latest = unchanged.Published.load(home, where.name), load(home)
    if published is None or published.key != key or latest is None or latest.number != published.build:
        return None
    return latest if where.can_be_read() and dbt.has_manifest(where.target_path) else None


def _dbt(settings: Settings, where: Target, begun: Begun, command: Sequence[str], say: Say) -> list[dict[str, Any]]:
    variables = {
        **definition.variables(settings),
        "DBT_PLAYLAKE_BUILD_NUMBER": str(begun.number),
        "DBT_PLAYLAKE_PUBLISHED_BUILD": str(begun.published),
    }
    anew = ["--full-refresh"] if begun.full and command[0] != "test" else []
    return dbt.run(settings, where, [*command, *anew], say, variables=variables)


def _publish(where: Target, home: Path, begun: Begun, say: Say) -> Built:
    say("publishing")
    gold = dbt.contracts(where.target_path, "gold")
    built = Built(version=0, bronze=0, target=where.name)
    built.silver = where.counts("silver", dbt.models(where.target_path, "silver"))
    built.gold = where.counts("gold", gold)
    built.version = publish.publish(
        home,
        lambda into: where.copy_gold(into, gold, begun.versions),
        begun.versions,
        build=begun.number,
        target=where.name,
    )
    if made := definition.load(home, where.name):
        replace(made, whole=True).save(home, where.name)
    built.tests = begun.tests
    built.versions = dict(begun.versions)
    return built
