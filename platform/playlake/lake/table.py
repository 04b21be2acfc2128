"""A Delta table of the lake: appending rows together with the positions that they bring the lake to."""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

from playlake import failpoints
from playlake import log as logs
from playlake.errors import PlaylakeError, UnavailableError
from playlake.lake import checkpoint, commit, log
from playlake.lake import columns as words
from playlake.lake.deliver import FencedError
from playlake.lake.files import files
from playlake.lake.options import storage_options
from playlake.lake.schema import PARTITION_COLUMNS
from playlake.lake.store import ERRORS, Store
from playlake.settings import Settings

if TYPE_CHECKING:
    from playlake.lake.delta import Live

_log = logs.get("lake")

_STALE_S = 3_600.0
"""Of the wall clock, which goes on while a machine sleeps. Who has not looked for so long opens the log anew: the entry
that comes next may be cleaned up already (after 30 days), and would look like one that is not there yet."""

FRESH_S = 1_800.0
"""Of the wall clock: how old files may be when they are committed. `lake prune` takes what no version knows after an
hour at the soonest, and who was frozen in between would commit files that are gone."""


class WriteFailedError(PlaylakeError):
    """The lake could not be written; whether the commit happened is for the table to say."""


class Table:
    """One Delta table of the lake.

    :param folder: below the bucket, such as ``bronze/plays``.
    :param store: one that several tables share, since its client takes 15 MB; made when it is needed otherwise.
    """

    def __init__(self, settings: Settings, folder: str, schema: pa.Schema, store: Store | None = None) -> None:
        self.folder = folder
        self.uri = f"s3://{settings.s3_bucket}/{folder}"
        self.schema = schema
        self._settings = settings
        self._folders = [name for name in PARTITION_COLUMNS if name in schema.names]
        self._shared = store
        self._state: log.State | None = None
        self._looked_at = 0.0
        self.bytes_written = 0
        """Of Parquet files, by this object."""
        self.commit_seconds = 0.0
        """Spent in commits, by this object, those that failed too."""

    @cached_property
    def _store(self) -> Store:
        return self._shared or Store(self._settings)

    def open(self) -> None:
        """Open the table, making it, and the bucket, where there is none."""
        if self.is_there():
            return
        with self._telling("made"):
            self._store.ensure_bucket()
            self._create()
        if not self.is_there():
            raise self._failed("opened", FileNotFoundError("it was made and is not there"))

    def is_there(self) -> bool:
        """Open the table if there is one; nothing is made."""
        with self._telling("opened"):
            found = log.opened(self._store, self.folder)
        self._state = found if found.version is not None else None
        self._looked_at = time.time()
        return self._state is not None

    def _create(self) -> None:
        # The transactions are the positions: they must never expire.
        properties = {"delta.checkpointInterval": str(self._settings.checkpoint_versions)}
        made = commit.creation(words.to_log(self.schema), self._folders, properties)
        # Version 0 or none: it may be there already, made by another writer at the same moment.
        self._store.put_new(log.entry(self.folder, 0), made)

    def refresh(self) -> None:
        """See the latest version."""
        if abs(time.time() - self._looked_at) > _STALE_S:
            self.open()
            return
        with self._telling("read"):
            log.follow(self._store, self.folder, self._seen)
        self._looked_at = time.time()

    @property
    def _seen(self) -> log.State:
        """The table as last seen."""
        if self._state is None:
            self.open()
        assert self._state is not None  # noqa: S101 - open() sets it or raises
        return self._state

    @property
    def version(self) -> int:
        """The version last seen."""
        found = self._seen.version
        assert found is not None  # noqa: S101 - what is open has one
        return found

    def position(self, app: str) -> int | None:
        """The next offset of a partition, at the version last seen."""
        return self._seen.positions.get(app)

    @property
    def positions(self) -> Mapping[str, int]:
        """By application, all of its transactions, at the version last seen."""
        return self._seen.positions

    def is_empty(self) -> bool:
        """Whether no rows are in it. All of its log is read."""
        with self._telling("read"):
            return not log.read(self._store, self.folder).files

    @property
    def added_columns(self) -> dict[str, pa.DataType]:
        """The columns that events have brought beside their own, by name, at the version last seen."""
        own = set(self.schema.names)
        return {name: kind for name, kind in words.of_log(self._seen.schema).items() if name not in own}

    def add_columns(self, columns: Mapping[str, pa.DataType]) -> None:
        """Add nullable columns; files that are there already have null in them.

        :raises FencedError: when the table was changed meanwhile: look again at what columns it has.
        """
        from playlake.lake import delta

        with self._telling("widened"), delta.opened(self._settings, self.uri, self.version) as table:
            delta.add_columns(table, columns)
        self.refresh()

    def append(self, rows: pa.Table, expected: Mapping[str, int | None], following: Mapping[str, int]) -> int:
        """Add rows and move the positions on, in one commit. Returns the new version.

        :param rows: without the partition columns: those follow from ``_kafka_timestamp``.
        :param expected: by application id, the position that the table must still be at.
        :param following: by application id, the position once this is committed.
        :raises FencedError: when another writer has moved one of them.
        :raises WriteFailedError: when the store failed; the commit may or may not have happened.
        """

        made_at = time.time()

        def still() -> None:
            self._check_features()
            if abs(time.time() - made_at) > FRESH_S:
                raise FencedError(f"{self.folder}: the files are too old, they may have been pruned")
            for app, position in expected.items():
                if self.position(app) != position:
                    raise FencedError(f"{app}: expected {position}, the table has {self.position(app)}")

        self.refresh()
        still()
        failpoints.hit("before-files")
        made = list(files(rows))
        with self._telling("written"):
            self._store.write_all({f"{self.folder}/{file.path}": file.body for file in made})
        self.bytes_written += sum(len(file.body) for file in made)
        failpoints.hit("after-files")
        self._commit(commit.body(made, self._folders, following), still)
        return self.version

    def _commit(self, body: bytes, still: Callable[[], None]) -> None:
        before = self.version
        failpoints.hit("before-commit")
        started = time.perf_counter()
        try:
            with self._telling("written"):
                still()
                commit.commit(self._store, self.folder, self._seen, body, still)
        except commit.CrowdedError as error:
            raise FencedError(str(error)) from error
        finally:
            self.commit_seconds += time.perf_counter() - started
        failpoints.hit("after-commit")
        every = self._settings.checkpoint_versions
        if before // every != self.version // every:
            self.checkpoint()

    def _check_features(self) -> None:
        try:
            commit.check(self._seen)
        except commit.UnknownFeatureError as error:
            raise PlaylakeError(
                f"The lake's table {self.folder} asks of its writers what playlake does not do ({error}): nothing was"
                " written, it is still in Kafka. Take back what another program has changed in the table's properties."
            ) from error

    def checkpoint(self) -> None:
        """Write the log's state as one file, so that readers need not read all of the log; not doing so is no fault."""
        failpoints.hit("before-checkpoint")
        try:
            checkpoint.make(self.uri, storage_options(self._settings))
        except OSError as error:
            _log.warning("no checkpoint could be made; the next one will be", table=self.folder, why=_words(error))
        failpoints.hit("after-checkpoint")

    def offsets_from(self, topic_id: str, partition: int, start: int) -> frozenset[int]:
        """Offsets at or after ``start`` that the table holds of a partition."""
        from playlake.lake import delta

        self.refresh()
        with self._telling("read"), delta.opened(self._settings, self.uri, self.version) as table:
            return delta.offsets_from(table, topic_id, partition, start)

    def live(self, version: int) -> Live:
        """The live files at a version.

        :raises WriteFailedError: when the store failed.
        """
        from playlake.lake import delta

        with self._telling("read"), delta.opened(self._settings, self.uri, version) as table:
            return delta.live(table, self.schema)

    def prune(self, hours: int, *, dry_run: bool = False) -> list[str]:
        """Remove the files that no version of the table knows and that are older than ``hours``; returns their paths.

        Such files come of writers that died between writing and committing, and of compaction.

        :raises WriteFailedError: when the store failed.
        """
        from playlake.lake import delta

        self.refresh()
        with self._telling("pruned"), delta.opened(self._settings, self.uri) as table:
            return delta.prune(table, hours, dry_run=dry_run)

    @contextmanager
    def _telling(self, verb: str) -> Iterator[None]:
        """Make of the clients' errors one that says what it means."""
        try:
            yield
        except (*ERRORS, pa.ArrowException, UnavailableError, ValueError) as error:
            raise self._failed(verb, error) from error

    def _failed(self, verb: str, error: BaseException) -> WriteFailedError:
        kept = " What was not landed is still in Kafka." if verb in ("read", "written", "widened") else ""
        return WriteFailedError(
            f"The lake's table {self.folder} could not be {verb} ({_words(error)}).{kept}",
            "Check that the object store runs (`playlake status`; `playlake up` starts the embedded one) and has room"
            " (`playlake doctor`), and run this again. Where it is well, `playlake lake verify` says what is wrong with"
            " the table.",
        )


def _words(error: BaseException) -> str:
    return textwrap.shorten(re.sub(r"\x1b\[[0-9;]*m", "", str(error)), 240, placeholder=" …")
