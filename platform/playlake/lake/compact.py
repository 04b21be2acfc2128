"""Compaction: the many small files of an hour that is over become few large ones, and readers see no difference.

One commit an hour removes exactly the files that were read and adds exactly the new ones. It is made only as the very
next version after a state of the table in which every one of those files is live, so whatever another process did
meanwhile is looked at first: rows that came late to the hour stay, and files that another compactor has replaced are
not written a second time. deltalake's own check would let both compactors through (docs/adr/0012).

1. :func:`hours` lists what is to be done, from one version of the table.
2. :func:`rewrite` reads the files of an hour, sorts the rows, and writes new files that no version names yet.
3. ``_commit`` swaps them. Dying before it leaves files that `playlake lake prune` removes; after it, nothing to do.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from playlake import failpoints, log
from playlake.errors import PlaylakeError
from playlake.lake import store as s3
from playlake.lake.log import COMPACTION
from playlake.lake.options import storage_options
from playlake.lake.rewriting import Written, read_rows, write_rows
from playlake.lake.schema import PARTITION_COLUMNS
from playlake.lake.table import FRESH_S, Table
from playlake.settings import Settings

_log = log.get("compact")
APP = COMPACTION
"""Two compactions from one version can't both be committed, whatever they read: their transaction is the same one. One
for the table and not one an hour, since transactions never expire here (they are the writer's positions too)."""

_TRIES = 40
"""Commits that others may be ahead of before an hour is left for the next run."""

_BEFORE = "compact-before-commit"
_AFTER = "compact-after-commit"
_CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes: of a file that is large enough, and of rows in memory at a time (Arrow's own form, several times a
    file's)."""

    target: int = 128 * 2**20
    chunk: int = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Source:
    """A live file: its path below the table's folder, bytes, and rows if the log tells."""

    path: str
    size: int
    rows: int | None


@dataclass(frozen=True, slots=True)
class Hour:
    """An hour's folder, and the files in it that are to become fewer, the oldest rows first."""

    partition: Mapping[str, str]
    files: Sequence[Source]

    @property
    def folder(self) -> str:
        """Its path below the table's folder."""
        return "/".join(f"{name}={self.partition[name]}" for name in PARTITION_COLUMNS)


@dataclass(slots=True)
class Compacted:
    """What a run did to a table, or, dry, would do (then nothing is known of ``files_after`` and ``bytes_after``)."""

    hours: int = 0
    files_before: int = 0
    bytes_before: int = 0
    files_after: int = 0
    bytes_after: int = 0
    rows: int = 0
    left: int = 0
    """Hours that another process compacted first, or kept too busy."""


class SupersededError(Exception):
    """Another process has replaced a file that was read: the hour is to be left as it is now."""


def compact(
    settings: Settings,
    table: Table,
    *,
    older_than_s: float = 3600.0,
    dry_run: bool = False,
    sizes: Sizes | None = None,
    now: Callable[[], float] = time.time,
    say: Callable[[str], None] | None = None,
) -> Compacted:
    """Compact the hours of a table that ended at least ``older_than_s`` seconds ago.

    Safe beside writers, readers and other compactors; can be broken off and run again at any point.

    :raises PlaylakeError: when the store failed, or the table has what can't be rewritten file by file.
    """
    tell = say or (lambda _text: None)
    sizes = sizes or Sizes()
    done = Compacted()
    try:
        delta = DeltaTable(table.uri, storage_options=storage_options(settings))
        found = hours(delta, datetime.fromtimestamp(now(), UTC) - timedelta(seconds=older_than_s), sizes)
        store = s3.Store(settings)
        for number, hour in enumerate(found, 1):
            tell(f"{table.folder}: {hour.folder}, {len(hour.files):,} files ({number:,} of {len(found):,})")
            if dry_run:
                _count(done, hour, [])
                done.rows += sum(of.rows or 0 for of in hour.files)
                continue
            try:
                _count(done, hour, rewrite(store, table.folder, delta, hour, sizes))
            except SupersededError as error:
                done.left += 1
                _log.info("hour left as it is", table=table.folder, hour=hour.folder, why=str(error))
        if done.hours and not dry_run:  # the log's entries of the small files need not be read again
            tell(f"{table.folder}: checkpoint")
            delta.update_incremental()
            failpoints.hit(_CHECKPOINT)
            delta.create_checkpoint()
    except (DeltaError, pa.ArrowException, *s3.ERRORS) as error:
        text = " ".join(str(error).split())[:240]
        raise PlaylakeError(
            f"{table.folder} could not be compacted ({type(error).__name__}: {text}). What was there is unchanged:"
            " check the object store (`playlake status`) and the files (`playlake lake verify`), and run this again."
        ) from error
    return done


def hours(delta: DeltaTable, before: datetime, sizes: Sizes) -> list[Hour]:
    """The hours that ended by ``before`` and have several files smaller than half the target, at the table's version.

    :raises PlaylakeError: when rows may be deleted or renamed within files, which a rewrite would undo.
    """
    if features := delta.protocol().reader_features:
        raise PlaylakeError(
            f"{delta.table_uri} uses {', '.join(map(str, features))}, which playlake does not write and can't compact:"
            " another program has changed the table. Compact it with that program."
        )
    by_hour: dict[tuple[str, ...], list[tuple[Any, Source]]] = {}
    for of in pa.table(delta.get_add_actions(flatten=False)).to_pylist():
        if of["size_bytes"] < sizes.target // 2:
            key = tuple(of["partition"][name] for name in PARTITION_COLUMNS)
            first = (of.get("min") or {}).get("_kafka_timestamp") or datetime.max.replace(tzinfo=UTC)
            source = Source(of["path"], of["size_bytes"], of["num_records"])
            by_hour.setdefault(key, []).append(((first, of["modification_time"], of["path"]), source))
    return [
        Hour(dict(zip(PARTITION_COLUMNS, key, strict=True)), [source for _, source in sorted(files, key=_order)])
        for key, files in sorted(by_hour.items())
        if len(files) > 1 and _ended(key) <= before
    ]


def _order(of: tuple[Any, Source]) -> Any:
    return of[0]


def _ended(key: tuple[str, ...]) -> datetime:
    year, month, day, hour = map(int, key)
    return datetime(year, month, day, hour, tzinfo=UTC) + timedelta(hours=1)


def rewrite(store: s3.Store, folder: str, delta: DeltaTable, hour: Hour, sizes: Sizes) -> list[Written]:
    """Write an hour's rows anew and swap the files.

    :returns: the new files.
    :raises SupersededError: when another process has replaced any of the old ones.
    """
    schema = pa.schema([f for f in pa.schema(delta.schema().to_arrow()) if f.name not in PARTITION_COLUMNS])
    keys = [f"{folder}/{source.path}" for source in hour.files]
    name, began = uuid.uuid4().hex, time.time()
    try:
        written = write_rows(
            store,
            (f"{folder}/{hour.folder}/compacted-{number:05}-{name}.zstd.parquet" for number in range(100_000)),
            read_rows(store, dict(zip(keys, (s.size for s in hour.files), strict=True)), schema, sizes.chunk),
            schema,
            sizes.target,
        )
    except FileNotFoundError as error:
        _refuse_unless_live(delta, hour)
        raise PlaylakeError(
            f"A file of {folder}/{hour.folder} is missing ({error}). `playlake lake verify` names it."
        ) from error
    expected = [source.rows for source in hour.files]
    rows = sum(w.rows for w in written)
    if None not in expected and rows != sum(n or 0 for n in expected):
        raise PlaylakeError(
            f"{folder}/{hour.folder} has {rows:,} rows where the log has {sum(n or 0 for n in expected):,}: not"
            " compacted. `playlake lake verify` says what is wrong."
        )
    _commit(delta, hour, {w.key.removeprefix(f"{folder}/"): w for w in written}, began)
    return written


def _commit(delta: DeltaTable, hour: Hour, new: Mapping[str, Written], began: float) -> None:
    # Even where it fails the new files stay: a commit whose reply was lost may still come to be. Prune knows them.
    failpoints.hit(_BEFORE)
    moment = int(time.time() * 1000)
    partition: dict[str, str | None] = dict(hour.partition)
    actions: list[AddAction | RemoveAction] = [
        *(AddAction(path, w.size, partition, moment, False, w.statistics) for path, w in new.items()),
        *(RemoveAction(s.path, False, moment, s.size, partition) for s in hour.files),
    ]
    for attempt in range(_TRIES):
        live = _refuse_unless_live(delta, hour, new)
        if new.keys() <= live:
            break  # the reply was lost, the commit was not
        if abs(time.time() - began) > FRESH_S:
            raise SupersededError("its new files are too old to be committed, they may have been pruned")
        try:
            delta.create_write_transaction(
                actions,
                "append",
                delta.schema(),
                partition_by=list(PARTITION_COLUMNS),
                # No retry: the next version or none. Retried, it would be let through beside whoever was faster.
                commit_properties=CommitProperties(
                    max_commit_retries=0, app_transactions=[Transaction(APP, delta.version() + 1)]
                ),
                post_commithook_properties=PostCommitHookProperties(create_checkpoint=False),
            )
            break
        except CommitFailedError:
            time.sleep(random.uniform(0, min(0.05 * 2**attempt, 1.0)))  # noqa: S311 - two must not go on in step
    else:
        raise SupersededError(f"others were ahead of {_TRIES} commits")
    failpoints.hit(_AFTER)


def _refuse_unless_live(delta: DeltaTable, hour: Hour, new: Mapping[str, Written] | None = None) -> set[str]:
    """The live files of the latest version; among them must be the hour's, or else those that stand for them."""
    delta.update_incremental()
    live = {str(path) for path in pa.table(delta.get_add_actions(flatten=False)).column("path").to_pylist()}
    if not (new and new.keys() <= live) and any(source.path not in live for source in hour.files):
        raise SupersededError("another process has replaced its files")
    return live


def _count(done: Compacted, hour: Hour, written: Sequence[Written]) -> None:
    done.hours += 1
    done.files_before += len(hour.files)
    done.bytes_before += sum(source.size for source in hour.files)
    done.files_after += len(written)
    done.bytes_after += sum(w.size for w in written)
    done.rows += sum(w.rows for w in written)
