"""The bronze tables, as Delta tables: appending rows together with the positions they bring the lake to."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from playlake import events
from playlake.errors import PlaylakeError
from playlake.lake.options import storage_options
from playlake.lake.schema import BRONZE, DEAD_LETTERS, PARTITION_COLUMNS
from playlake.settings import Settings

FOLDERS = {
    events.PLAYS: "bronze/plays",
    events.SKIPS: "bronze/skips",
    events.LIKES: "bronze/likes",
    events.NOW_PLAYING: "raw/currently_playing",
}
DEAD_LETTERS_FOLDER = "bronze/dead_letters"

_NO_BUCKET = "NoSuchBucket"
"""S3's code for it, https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html."""

_WRITER = WriterProperties(compression="ZSTD")


class FencedError(Exception):
    """Another writer committed a position of ours: what we hold is to be dropped and read again."""


class WriteFailedError(PlaylakeError):
    """The lake could not be written; whether the commit happened is for the table to say."""


def app_id(topic: str, topic_id: str, partition: int) -> str:
    """The Delta application transaction of a partition; a topic made anew has another id and starts over."""
    return f"{topic}:{topic_id}:{partition}"


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
        self._table: DeltaTable | None = None

    def open(self) -> None:
        """Open the table, making it, and the bucket, where there is none."""
        try:
            self._table = DeltaTable(self.uri, storage_options=self._options)
        except TableNotFoundError:
            self._create()
        except (OSError, DeltaError) as error:
            if _NO_BUCKET not in str(error):
                raise self._failed("opened", error) from error
            from playlake.lake.store import Store  # a second of imports that only the first look needs

            Store(self._settings).ensure_bucket()
            self._create()

    def _create(self) -> None:
        try:
            DeltaTable.create(
                self.uri,
                self._schema,
                mode="ignore",
                partition_by=list(PARTITION_COLUMNS),
                storage_options=self._options,
                # The transactions are the positions: they must never expire.
                configuration={"delta.checkpointInterval": "100"},
                # Version 0 or none: tried again, it would be made a second time by whoever was a moment late.
                commit_properties=CommitProperties(max_commit_retries=0),
            )
        except CommitFailedError:
            pass  # another writer made it at the same moment
        except (OSError, DeltaError) as error:
            raise self._failed("made", error) from error
        try:
            self._table = DeltaTable(self.uri, storage_options=self._options)
        except (OSError, DeltaError) as error:
            raise self._failed("opened", error) from error

    def refresh(self) -> None:
        """See the latest version."""
        try:
            self._delta.update_incremental()
        except (OSError, DeltaError) as error:
            raise self._failed("read", error) from error

    @property
    def _delta(self) -> DeltaTable:
        if self._table is None:
            self.open()
        assert self._table is not None  # noqa: S101 - open() sets it or raises
        return self._table

    @property
    def version(self) -> int:
        """The version last seen."""
        return self._delta.version()

    def position(self, app: str) -> int | None:
        """The next offset of a partition, at the version last seen."""
        found: int | None = self._delta.transaction_version(app)
        return found

    def append(self, rows: pa.Table, expected: Mapping[str, int | None], following: Mapping[str, int]) -> int:
        """Add rows and move the positions on, in one commit. Returns the new version.

        :param expected: by application id, the position that the table must still be at.
        :param following: by application id, the position once this is committed.
        :raises FencedError: when another writer has moved one of them.
        :raises WriteFailedError: when the store failed; the commit may or may not have happened.
        """
        self.refresh()
        for app, position in expected.items():
            if self.position(app) != position:
                raise FencedError(f"{app}: expected {position}, the table has {self.position(app)}")
        properties = CommitProperties(app_transactions=[Transaction(app, v) for app, v in following.items()])
        try:
            write_deltalake(self._delta, rows, mode="append", commit_properties=properties, writer_properties=_WRITER)
        except CommitFailedError as error:
            raise FencedError(str(error)) from error
        except (OSError, DeltaError) as error:
            raise self._failed("written", error) from error
        self.refresh()
        return self.version

    def offsets_from(self, topic_id: str, partition: int, start: int) -> frozenset[int]:
        """Offsets at or after ``start`` that the table holds of a partition."""
        import pyarrow.dataset as ds

        self.refresh()
        found = self._delta.to_pyarrow_table(
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
            table = DeltaTable(self.uri, version=version, storage_options=self._options)
            actions = pa.table(table.get_add_actions(flatten=True))
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
            found = self._delta.vacuum(hours, dry_run=True, enforce_retention_duration=False, full=True)
            if found and not dry_run:  # even a vacuum that finds nothing is a version, which would look like news
                self._delta.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True)
        except (OSError, DeltaError) as error:
            raise self._failed("pruned", error) from error
        return list(found)

    def _failed(self, verb: str, error: BaseException) -> WriteFailedError:
        text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())[:240]
        return WriteFailedError(
            f"The lake's table {self.folder} could not be {verb} ({text}). What was not landed is still in Kafka: "
            "check the object store and its disk (`playlake status`, `playlake doctor`) and run this again."
        )


def bronze(settings: Settings, topic: str) -> Table:
    """The table in which a topic lands."""
    return Table(settings, FOLDERS[topic], BRONZE[topic])


def dead_letters(settings: Settings) -> Table:
    """The table of messages that could not be events."""
    return Table(settings, DEAD_LETTERS_FOLDER, DEAD_LETTERS)


def every(settings: Settings) -> list[Table]:
    """All tables of the lake; one that is not there yet is made, empty."""
    found = [*(bronze(settings, topic) for topic in FOLDERS), dead_letters(settings)]
    for table in found:
        table.open()
    return found


def snapshot(settings: Settings) -> dict[str, int]:
    """By folder, the latest version of each table; a table that is not there yet is made, empty."""
    return {table.folder: table.version for table in every(settings)}


def schemas() -> dict[str, pa.Schema]:
    """By folder, the columns of each table of the lake."""
    return {**{folder: BRONZE[topic] for topic, folder in FOLDERS.items()}, DEAD_LETTERS_FOLDER: DEAD_LETTERS}


def live_files(settings: Settings) -> Callable[[str, int], Live]:
    """What tells the live files of a folder of the lake at a version."""
    known = schemas()
    return lambda folder, version: Table(settings, folder, known[folder]).live(version)
