"""Reading a Delta log by its specification, with no Delta library: for `lake verify`, and for writers.

https://github.com/delta-io/delta/blob/master/PROTOCOL.md: a table's state at a version is its last checkpoint, a
Parquet file of actions, followed by the actions of each later version's JSON file. Between them nothing may be missing.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from playlake.lake.store import Object, Store

COMPACTION = "playlake-compaction"
"""The application transaction of compactions (:mod:`playlake.lake.compact`)."""

_ENTRY = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint(?:\.(\d{10})\.(\d{10}))?\.parquet")
_AHEAD = 64
"""Entries that are asked for at once, at most."""
_TRIES = 3
"""A log that is cleaned up while it is read is read again."""


class _File(msgspec.Struct):
    path: str
    size: int | None = None


class _Transaction(msgspec.Struct, rename="camel"):
    app_id: str
    version: int


class _Metadata(msgspec.Struct, rename="camel"):
    schema_string: str
    configuration: dict[str, str | None] = {}


class _Protocol(msgspec.Struct, rename="camel"):
    min_writer_version: int
    writer_features: list[str] | None = None


class _Action(msgspec.Struct, rename="camel"):
    add: _File | None = None
    remove: _File | None = None
    txn: _Transaction | None = None
    meta_data: _Metadata | None = None
    protocol: _Protocol | None = None


_COLUMNS = (
    *("txn.appId", "txn.version", "metaData.schemaString", "metaData.configuration"),
    *("protocol.minWriterVersion", "protocol.writerFeatures"),
)
"""Of a checkpoint, without the files."""
_FILE_COLUMNS = ("add.path", "add.size", "remove.path")


@dataclass(slots=True)
class State:
    """A table at its latest version, as far as its log can be read.

    :param whole: whether files are kept too, and not only what a writer needs.
    """

    whole: bool = True

    version: int | None = None
    """None where there is no table."""
    files: dict[str, int] = field(default_factory=dict)
    """The live files by their path below the table's folder, with their bytes."""
    removed: set[str] = field(default_factory=set)
    """Files that the log still says were removed: readers of earlier versions may need them."""
    positions: dict[str, int] = field(default_factory=dict)
    """The application transactions."""
    schema: str = ""
    """The columns, as the log's JSON."""
    properties: dict[str, str | None] = field(default_factory=dict)
    """Of the table, such as constraints."""
    writer_version: int = 0
    writer_features: frozenset[str] = frozenset()
    faults: list[str] = field(default_factory=list)
    """What is missing in the log, or can't be read."""
    complete: bool = True
    """Whether no version that the state needs is among that."""


def read(store: Store, folder: str, *, whole: bool = True) -> State:
    """The latest state of the table in a folder of the bucket."""
    for attempt in range(_TRIES):
        state, vanished = _read(store, folder, whole)
        if not vanished or attempt == _TRIES - 1:
            break
    return state


def opened(store: Store, folder: str) -> State:
    """The same for a writer: without files, and without a list of all the log where its last checkpoint is told.

    :raises ValueError: when the log can't be read, with what is wrong in it.
    """
    state = State(whole=False)
    prefix = f"{folder}/_delta_log/"
    told = _last_told(store, prefix, state)
    if told is not None:
        with contextlib.suppress(FileNotFoundError, KeyError, pa.ArrowException):  # in several parts, or damaged
            _begin(store, prefix, [f"{told:020}.checkpoint.parquet"], state)
            state.version = told
    if state.version is not None and state.schema:
        follow(store, folder, state)
        if not _goes_on(store, prefix, state.version):
            return state
    state = read(store, folder, whole=False)
    if state.version is None:
        return state
    if not (state.complete and state.schema):
        raise ValueError("; ".join(state.faults) or "the log does not say what columns the table has")
    follow(store, folder, state)
    return state


def _goes_on(store: Store, prefix: str, version: int) -> bool:
    """Whether the log has a version beyond this one, after which nothing more was found: a hole, which whoever wrote
    the next entry would fill, or a checkpoint that is not told."""
    names = (key.removeprefix(prefix) for key in store.after(prefix, f"{prefix}{version:020}.zzz"))
    return any(_ENTRY.fullmatch(name) or _CHECKPOINT.fullmatch(name) for name in names)


def follow(store: Store, folder: str, state: State) -> None:
    """Bring a state to the latest version, entry by entry.

    :raises ValueError: when an entry can't be read.
    """
    ahead = 1
    while True:
        first = (-1 if state.version is None else state.version) + 1
        bodies = store.read_all([entry(folder, version) for version in range(first, first + ahead)])
        for version in range(first, first + ahead):
            body = bodies.get(entry(folder, version))
            if body is None:
                return
            apply(state, version, body)
        ahead = min(4 * ahead, _AHEAD)


def apply(state: State, version: int, body: bytes) -> None:
    """Bring a state from the version before to this one.

    :raises ValueError: when the entry can't be read.
    """
    try:
        _apply(state, _decoded(body))
    except msgspec.MsgspecError as error:
        raise ValueError(f"version {version} of the log can't be read ({error})") from error
    state.version = version


def _decoded(body: bytes) -> list[_Action]:
    return [msgspec.json.decode(line, type=_Action) for line in body.splitlines() if line.strip()]


def _read(store: Store, folder: str, whole: bool) -> tuple[State, bool]:
    state = State(whole=whole)
    prefix = f"{folder}/_delta_log/"
    told = _last_told(store, prefix, state)  # before the list: a checkpoint is there before it is told
    listed = {key.removeprefix(prefix): of for key, of in store.listing(prefix.rstrip("/")).items()}
    entries = sorted(int(m[1]) for name in listed if (m := _ENTRY.fullmatch(name)))
    checkpoints = _checkpoints(listed)
    if not (entries or checkpoints):
        return state, False
    if told is not None and told not in checkpoints:
        state.faults.append(f"the last checkpoint, of version {told}, is missing")
    start = _from_checkpoint(store, prefix, checkpoints, state)
    state.version = max(entries[-1] if entries else -1, start)
    wanted = range(start + 1, state.version + 1)
    bodies = store.read_all([entry(folder, v) for v in wanted if v in set(entries)])
    missing = [v for v in wanted if entry(folder, v) not in bodies]
    # A version that was made while the folder was listed may be missing in the list alone.
    late = store.read_all([entry(folder, v) for v in missing])
    missing = [v for v in missing if entry(folder, v) not in late]
    if missing:
        state.complete = False
        state.faults.append(f"the log has no {_named(missing)} though it has version {state.version}")
    for version in wanted:
        body = bodies.get(entry(folder, version)) or late.get(entry(folder, version))
        if body is not None:
            try:
                _apply(state, _decoded(body))
            except msgspec.MsgspecError as error:
                state.complete = False
                state.faults.append(f"version {version} of the log can't be read ({error})")
    return state, bool(missing)


def _named(versions: list[int]) -> str:
    named = ", ".join(map(str, versions[:5])) + (" …" if len(versions) > 5 else "")
    return f"version{'' if len(versions) == 1 else 's'} {named}"


def entry(folder: str, version: int) -> str:
    """The key of a version's JSON file."""
    return f"{folder}/_delta_log/{version:020}.json"


def _checkpoints(listed: Mapping[str, Object]) -> dict[int, list[str]]:
    """By version, the files of each checkpoint that has all its parts."""
    found: dict[tuple[int, int], list[str]] = {}
    for name in sorted(listed):
        if m := _CHECKPOINT.fullmatch(name):
            found.setdefault((int(m[1]), int(m[3] or 1)), []).append(name)
    return {version: names for (version, parts), names in found.items() if len(names) == parts}


def _from_checkpoint(store: Store, prefix: str, checkpoints: dict[int, list[str]], state: State) -> int:
    """Begin with the last checkpoint that can be read; its version, or -1 where all is in the JSON files."""
    for version in sorted(checkpoints, reverse=True):
        try:
            _begin(store, prefix, checkpoints[version], state)
        except (FileNotFoundError, KeyError, pa.ArrowException) as error:
            state.faults.append(f"the checkpoint of version {version} can't be read ({_short(error)})")
            continue
        return version
    return -1


def _begin(store: Store, prefix: str, checkpoint: list[str], state: State) -> None:
    """Apply a checkpoint, or nothing of it."""
    found = State(whole=state.whole)
    for name in checkpoint:
        body = store.read(prefix + name)
        try:
            file = pq.ParquetFile(pa.BufferReader(body))
            actions = file.read(columns=[*_COLUMNS, *(_FILE_COLUMNS if state.whole else ())])
        except OSError as error:  # pyarrow's word for a damaged page or footer, which no store has to do with
            raise pa.ArrowInvalid(str(error)) from error
        _apply(found, _actions(actions))
    state.files, state.removed, state.positions = found.files, found.removed, found.positions
    state.schema, state.properties = found.schema, found.properties
    state.writer_version, state.writer_features = found.writer_version, found.writer_features


def _last_told(store: Store, prefix: str, state: State) -> int | None:
    try:
        return int(msgspec.json.decode(store.read(f"{prefix}_last_checkpoint"))["version"])
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        state.faults.append(f"_last_checkpoint can't be read ({_short(error)})")
        return None


def _actions(checkpoint: pa.Table) -> Iterable[_Action]:
    for app, version in _fields(checkpoint, "txn", "appId", "version"):
        yield _Action(txn=_Transaction(app, version))
    for path, size in _fields(checkpoint, "add", "path", "size"):
        yield _Action(add=_File(path, size))
    for (path,) in _fields(checkpoint, "remove", "path"):
        yield _Action(remove=_File(path))
    for schema, properties in _fields(checkpoint, "metaData", "schemaString", "configuration"):
        yield _Action(meta_data=_Metadata(schema, dict(properties or ())))
    for version, features in _fields(checkpoint, "protocol", "minWriterVersion", "writerFeatures"):
        yield _Action(protocol=_Protocol(version, features))


def _fields(checkpoint: pa.Table, name: str, *fields: str) -> Iterable[tuple[Any, ...]]:
    if name not in checkpoint.column_names:
        return []
    column = checkpoint.column(name).drop_null().combine_chunks()
    there = {column.type.field(i).name for i in range(column.type.num_fields)}
    missing = [None] * len(column)
    found = zip(*(column.field(f).to_pylist() if f in there else missing for f in fields), strict=True)
    return [of for of in found if of[0] is not None]


def _apply(state: State, actions: Iterable[_Action]) -> None:
    """The actions of one version, whose order says nothing: what is both added and removed in it is live."""
    added: dict[str, int] = {}
    for action in actions:
        if action.txn:
            state.positions[action.txn.app_id] = action.txn.version
        if action.meta_data:
            state.schema, state.properties = action.meta_data.schema_string, action.meta_data.configuration
        if action.protocol:
            state.writer_version = action.protocol.min_writer_version
            state.writer_features = frozenset(action.protocol.writer_features or ())
        if not state.whole:
            continue
        if action.remove:
            path = unquote(action.remove.path)
            state.files.pop(path, None)
            state.removed.add(path)
        if action.add:
            added[unquote(action.add.path)] = action.add.size or 0
    state.files |= added
    state.removed -= added.keys()


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:120]
