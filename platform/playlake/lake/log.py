"""Reading a Delta log by its specification, with no Delta library: what `lake verify` compares the store with.

https://github.com/delta-io/delta/blob/master/PROTOCOL.md: a table's state at a version is its last checkpoint, a
Parquet file of actions, followed by the actions of each later version's JSON file. Between them nothing may be missing.
"""

from __future__ import annotations

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
_TRIES = 3
"""A log that is cleaned up while it is read is read again."""


class _File(msgspec.Struct):
    path: str
    size: int | None = None


class _Transaction(msgspec.Struct, rename="camel"):
    app_id: str
    version: int


class _Action(msgspec.Struct):
    add: _File | None = None
    remove: _File | None = None
    txn: _Transaction | None = None


@dataclass(slots=True)
class State:
    """A table at its latest version, as far as its log can be read."""

    version: int | None = None
    """None where there is no table."""
    files: dict[str, int] = field(default_factory=dict)
    """The live files by their path below the table's folder, with their bytes."""
    removed: set[str] = field(default_factory=set)
    """Files that the log still says were removed: readers of earlier versions may need them."""
    positions: dict[str, int] = field(default_factory=dict)
    """The application transactions."""
    faults: list[str] = field(default_factory=list)
    """What is missing in the log, or can't be read."""


def read(store: Store, folder: str) -> State:
    """The latest state of the table in a folder of the bucket."""
    for attempt in range(_TRIES):
        state, vanished = _read(store, folder)
        if not vanished or attempt == _TRIES - 1:
            break
    return state


def _read(store: Store, folder: str) -> tuple[State, bool]:
    state = State()
    prefix = f"{folder}/_delta_log/"
    listed = {key.removeprefix(prefix): of for key, of in store.listing(prefix.rstrip("/")).items()}
    entries = sorted(int(m[1]) for name in listed if (m := _ENTRY.fullmatch(name)))
    checkpoints = _checkpoints(listed)
    if not (entries or checkpoints):
        return state, False
    start = _from_checkpoint(store, prefix, checkpoints, state)
    state.version = max(entries[-1] if entries else -1, start)
    wanted = range(start + 1, state.version + 1)
    bodies = store.read_all([entry(folder, v) for v in wanted if v in set(entries)])
    missing = [v for v in wanted if entry(folder, v) not in bodies]
    # A version that was made while the folder was listed may be missing in the list alone.
    late = store.read_all([entry(folder, v) for v in missing])
    missing = [v for v in missing if entry(folder, v) not in late]
    if missing:
        state.faults.append(f"the log has no {_named(missing)} though it has version {state.version}")
    for version in wanted:
        body = bodies.get(entry(folder, version)) or late.get(entry(folder, version))
        if body is not None:
            try:
                _apply(state, [msgspec.json.decode(line, type=_Action) for line in body.splitlines() if line.strip()])
            except msgspec.MsgspecError as error:
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
    told = _last_told(store, prefix, state)
    if told is not None and told not in checkpoints:
        state.faults.append(f"the last checkpoint, of version {told}, is missing")
    for version in sorted(checkpoints, reverse=True):
        found = State()
        try:
            for name in checkpoints[version]:
                _apply(found, _actions(pq.read_table(pa.BufferReader(store.read(prefix + name)))))
        except (FileNotFoundError, KeyError, pa.ArrowException) as error:
            state.faults.append(f"the checkpoint of version {version} can't be read ({_short(error)})")
            continue
        state.files, state.removed, state.positions = found.files, found.removed, found.positions
        return version
    return -1


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


def _fields(checkpoint: pa.Table, name: str, *fields: str) -> Iterable[tuple[Any, ...]]:
    if name not in checkpoint.column_names:
        return []
    column = checkpoint.column(name).drop_null().combine_chunks()
    found = zip(*(column.field(f).to_pylist() for f in fields), strict=True)
    return [of for of in found if of[0] is not None]


def _apply(state: State, actions: Iterable[_Action]) -> None:
    """The actions of one version, whose order says nothing: what is both added and removed in it is live."""
    added: dict[str, int] = {}
    for action in actions:
        if action.txn:
            state.positions[action.txn.app_id] = action.txn.version
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
