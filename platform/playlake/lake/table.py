"""A Delta table of the lake: appending rows together with the positions that they bring the lake to."""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, DeltaError

from playlake import failpoints
from playlake import log as logs
from playlake.errors import PlaylakeError, UnavailableError
from playlake.lake import commit, log
from playlake.lake.deliver import FencedError
from playlake.lake.drift import of_schema
from playlake.lake.files import files
from playlake.lake.options import storage_options
from playlake.lake.schema import PARTITION_COLUMNS
from playlake.lake.store import ERRORS, Store
from playlake.settings import Settings

_log = logs.get("lake")

_STALE_S = 3_600.0
"""Of the wall clock, which goes on while a machine sleeps. Who has not looked for so long opens the log anew: the entry
that comes next may be cleaned up already (after 30 days), and would look like one that is not there yet."""
_NO_BUCKET = "NoSuchBucket"
"""S3's code for it, https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html."""


class WriteFailedError(PlaylakeError):
    """The lake could not be written; whether the commit happened is for the table to say."""


@dataclass(frozen=True, slots=True)
class Live:
    """What the log says of a table at one version: its files, and nothing that was replaced since."""

    schema: pa.Schema
    files: Mapping[str, int]
    """By the path below the table's folder, the rows."""
    first: datetime | None
    """Of ``_kafka_timestamp``, to the millisecond; None where there is no row."""
    last: datetime | None


class Table:
    """One Delta table of the lake.

    :param folder: below the bucket, such as ``bronze/plays``.
    """

    def __init__(self, settings: Settings, folder: str, schema: pa.Schema) -> None:
        self.folder = folder
        self.uri = f"s3://{settings.s3_bucket}/{folder}"
        self._schema = schema
        self._settings = settings
        self._options = storage_options(settings)
        self._folders = [name for name in PARTITION_COLUMNS if name in schema.names]
        self._state: log.State | None = None
        self._looked_at = 0.0
        self.bytes_written = 0
        """Of Parquet files, by this object."""
        self.commit_seconds = 0.0
        """Spent in commits, by this object, those that failed too."""

    @cached_property
    def _store(self) -> Store:
        return Store(self._settings)

    def open(self) -> None:
        """Open the table, making it, and the bucket, where there is none."""
        if self.is_there():
            return
        try:
            self._create()
        except (OSError, DeltaError) as error:
            if _NO_BUCKET not in str(error):
                raise self._failed("made", error) from error
            self._store.ensure_bucket()
            with self._telling("made"):
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
        with suppress(CommitFailedError):  # another writer made it at the same moment
            DeltaTable.create(
                self.uri,
                self._schema,
                mode="ignore",
                partition_by=self._folders,
                storage_options=self._options,
                # The transactions are the positions: they must never expire.
                configuration={"delta.checkpointInterval": str(self._settings.checkpoint_versions)},
                # Version 0 or none: tried again, it would be made a second time by whoever was a moment late.
                commit_properties=CommitProperties(max_commit_retries=0),
            )

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

    def _delta(self, version: int | None = None) -> DeltaTable:
        """The table with all its files, for what needs them."""
        return DeltaTable(self.uri, version=version, storage_options=self._options)

    @property
    def version(self) -> int:
        """The version last seen."""
        found = self._seen.version
        assert found is not None  # noqa: S101 - what is open has one
        return found

    def position(self, app: str) -> int | None:
        """The next offset of a partition, at the version last seen."""
        return self._seen.positions.get(app)

    def rows(self) -> int:
        """Rows at the version last seen, by the log."""
        with self._telling("read"):
            actions = pa.table(self._delta(self.version).get_add_actions(flatten=True))
        return int(sum(actions["num_records"].to_pylist()))

    @property
    def added_columns(self) -> dict[str, pa.DataType]:
        """The columns that events have brought beside their own, by name, at the version last seen."""
        return of_schema(pa.schema(Schema.from_json(self._seen.schema).to_arrow()), self._schema.names)

    def add_columns(self, columns: Mapping[str, pa.DataType]) -> None:
        """Add nullable columns; files that are there already have null in them.

        :raises FencedError: when the table was changed meanwhile: look again at what columns it has.
        """
        schema = Schema.from_arrow(pa.schema([pa.field(name, kind) for name, kind in columns.items()]))
        with self._telling("widened"):
            delta = self._delta(self.version)
            try:
                delta.alter.add_columns(schema.fields)
            except CommitFailedError as error:
                raise FencedError(str(error)) from error
        self.refresh()

    def append(self, rows: pa.Table, expected: Mapping[str, int | None], following: Mapping[str, int]) -> int:
        """Add rows and move the positions on, in one commit. Returns the new version.

        :param rows: without the partition columns: those follow from ``_kafka_timestamp``.
        :param expected: by application id, the position that the table must still be at.
        :param following: by application id, the position once this is committed.
        :raises FencedError: when another writer has moved one of them.
        :raises WriteFailedError: when the store failed; the commit may or may not have happened.
        """

        def still() -> None:
            self._check_features()
            for app, position in expected.items():
                if self.position(app) != position:
                    raise FencedError(f"{app}: expected {position}, the table has {self.position(app)}")

        self.refresh()
        still()
        failpoints.hit("before-files")
        made = list(files(rows))
        with self._telling("written"):
            self._store.write_all({f"{self.folder}/{file.path}": file.body for file in made})
        self.bytes_written += sum(file.body.size for file in made)
        failpoints.hit("after-files")
        self._commit(commit.body(made, self._folders, following), still)
        return self.version

    def _commit(self, body: bytes, still: Callable[[], None]) -> None:
        before = self.version
        failpoints.hit("before-commit")
        started = time.perf_counter()
        try:
            with self._telling("written"):
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
            delta = self._delta()
            delta.create_checkpoint()
            failpoints.hit("after-checkpoint")
            delta.cleanup_metadata()
        except (OSError, DeltaError) as error:
            _log.warning("no checkpoint could be made; the next one will be", table=self.folder, why=_words(error))

    def offsets_from(self, topic_id: str, partition: int, start: int) -> frozenset[int]:
        """Offsets at or after ``start`` that the table holds of a partition."""
        import pyarrow.dataset as ds

        self.refresh()
        with self._telling("read"):
            found = self._delta(self.version).to_pyarrow_table(
                columns=["_kafka_offset"],
                filters=(ds.field("_kafka_topic_id") == topic_id)
                & (ds.field("_kafka_partition") == partition)
                & (ds.field("_kafka_offset") >= start),
            )
        return frozenset(found.column("_kafka_offset").to_pylist())

    def live(self, version: int) -> Live:
        """The live files at a version.

        :raises WriteFailedError: when the store failed.
        """
        try:
            actions = pa.table(self._delta(version).get_add_actions(flatten=True))
        except (OSError, DeltaError) as error:
            raise self._failed("read", error) from error
        files = dict(zip(actions["path"].to_pylist(), actions["num_records"].to_pylist(), strict=True))
        if not files:
            return Live(self._schema, {}, None, None)
        first, last = (actions[f"{of}._kafka_timestamp"].to_pylist() for of in ("min", "max"))
        return Live(self._schema, files, min(first), max(last))

    def prune(self, hours: int, *, dry_run: bool = False) -> list[str]:
        """Remove the files that no version of the table knows and that are older than ``hours``; returns their paths.

        Such files come of writers that died between writing and committing, and of compaction.

        :raises WriteFailedError: when the store failed.
        """
        self.refresh()
        try:
            delta = self._delta()
            found = delta.vacuum(hours, dry_run=True, enforce_retention_duration=False, full=True)
            if found and not dry_run:  # even a vacuum that finds nothing is a version, which would look like news
                delta.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True)
        except (OSError, DeltaError) as error:
            raise self._failed("pruned", error) from error
        return list(found)

    @contextmanager
    def _telling(self, verb: str) -> Iterator[None]:
        """Make of the clients' errors one that says what it means."""
        try:
            yield
        except (*ERRORS, DeltaError, pa.ArrowException, UnavailableError, ValueError) as error:
            raise self._failed(verb, error) from error

    def _failed(self, verb: str, error: BaseException) -> WriteFailedError:
        kept = " What was not landed is still in Kafka." if verb in ("written", "widened") else ""
        return WriteFailedError(
            f"The lake's table {self.folder} could not be {verb} ({_words(error)}).{kept} Check the object store and"
            " its disk (`playlake status`, `playlake doctor`) and run this again."
        )


def _words(error: BaseException) -> str:
    return textwrap.shorten(re.sub(r"\x1b\[[0-9;]*m", "", str(error)), 240, placeholder=" …")
