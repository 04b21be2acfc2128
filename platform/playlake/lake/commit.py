"""Adding a version to a Delta log by its specification: one JSON file, put only where there is none.

https://github.com/delta-io/delta/blob/master/PROTOCOL.md. deltalake 1.6 commits too, but goes through all live files of
the table at each commit and each look: 0.2 ms of a processor for each, which a table of small files has by the
thousand. A writer that only appends needs none of them.
"""

from __future__ import annotations

import json
import random
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence

import msgspec

from playlake import __version__
from playlake.lake import log
from playlake.lake.files import File
from playlake.lake.store import Store

_TRIES = 50
"""To be first at the next version; each time another writer was."""
_PAUSE_S = 0.02
_READER_VERSION, _WRITER_VERSION = 1, 2
"""What a table is made with: plain columns and nothing more."""
_FEATURES_VERSION = 7
_FEATURES = frozenset({"appendOnly", "invariants", "checkConstraints"})
"""Of tables that tell features instead of a version, those that ask nothing of one who appends what a schema allows, or
only by properties."""
_ASKS = ("delta.invariants", "delta.generationExpression", "delta.identity.", "delta.columnMapping.")
"""In the metadata of a column: what whoever writes has to see to, and this does not."""
_PROPERTIES = (
    "delta.constraints.",
    "delta.enableChangeDataFeed",
    "delta.columnMapping.mode",
    "delta.enableRowTracking",
)
"""The same in the properties of a table. Dropped again, its protocol stays at the version that came with them."""
_RETENTION = "delta.logRetentionDuration"
_SHORT = re.compile(r"interval\s+(\d+)\s+(second|minute|hour)s?", re.IGNORECASE)
_SECONDS = {"second": 1, "minute": 60, "hour": 3600}
SHORTEST_S = 7_200
"""An entry that is cleaned up sooner after it was written may be the next one of a writer that has not looked for an
hour, which would put its own there."""


class CrowdedError(Exception):
    """Others were first each time."""


class UnknownFeatureError(Exception):
    """Somebody has asked of the table's writers what this one does not do."""


def creation(schema: str, folders: Sequence[str], properties: Mapping[str, str]) -> bytes:
    """The actions of a table's first version, which has no rows.

    :param schema: the columns, as the log's JSON.
    :param folders: the partition columns.
    """
    now = int(time.time() * 1000)
    info = {"timestamp": now, "operation": "CREATE TABLE", "engineInfo": f"playlake/{__version__}"}
    form = {"format": {"provider": "parquet", "options": {}}, "configuration": dict(properties), "createdTime": now}
    table = {"id": str(uuid.uuid4()), "schemaString": schema, "partitionColumns": list(folders), **form}
    actions: list[dict[str, object]] = [
        {"commitInfo": info},
        {"protocol": {"minReaderVersion": _READER_VERSION, "minWriterVersion": _WRITER_VERSION}},
        {"metaData": table},
    ]
    return _lines(actions)


def body(files: Sequence[File], folders: Sequence[str], following: Mapping[str, int]) -> bytes:
    """The actions of a version that appends files and moves application transactions on.

    :param folders: the partition columns.
    """
    now = int(time.time() * 1000)
    told = {"mode": "Append", "partitionBy": json.dumps(list(folders))}
    info = {"timestamp": now, "operation": "WRITE", "operationParameters": told, "txnId": uuid.uuid4().hex}
    actions: list[dict[str, object]] = [{"commitInfo": {**info, "engineInfo": f"playlake/{__version__}"}}]
    for file in files:
        of = {"path": file.path, "partitionValues": file.partition_values, "size": len(file.body), "stats": file.stats}
        actions.append({"add": {**of, "modificationTime": now, "dataChange": True}})
    actions += [{"txn": {"appId": app, "version": position}} for app, position in following.items()]
    return _lines(actions)


def _lines(actions: Sequence[Mapping[str, object]]) -> bytes:
    return b"\n".join(map(msgspec.json.encode, actions)) + b"\n"


def commit(store: Store, folder: str, state: log.State, made: bytes, still: Callable[[], None]) -> None:
    """Make it the table's next version, whichever that is by then; ``state`` is then at it.

    :param made: as of :func:`body`, which is never the same twice.
    :param still: raises where what another version brought means that this one must not be.
    :raises CrowdedError: when others were first too often.
    :raises UnavailableError: when the store failed; the version may be there or not.
    """
    for attempt in range(_TRIES):
        version = (-1 if state.version is None else state.version) + 1
        key = log.entry(folder, version)
        # Refused may be by ourselves: the reply to the first try was lost, and the client tried again.
        if store.put_new(key, made) or store.read_all([key]).get(key) == made:
            log.apply(state, version, made)
            return
        log.follow(store, folder, state)
        still()
        time.sleep(random.uniform(0, _PAUSE_S * min(attempt, 10)))  # noqa: S311 - who waits for how long is no secret
    raise CrowdedError(f"{folder}: others were first at {_TRIES} versions")


def check(state: log.State) -> None:
    """:raises UnknownFeatureError: when the table asks more of its writers than this one does."""
    version, features = state.writer_version, state.writer_features
    # A version only allows what the metadata may then ask for; a feature asks by itself, but for constraints.
    unknown = sorted(features - _FEATURES) if version == _FEATURES_VERSION else []
    if version > _FEATURES_VERSION:
        unknown = [f"writer version {version}"]
    unknown += [name for name in _ASKS if name in state.schema]
    unknown += [
        name
        for name, value in state.properties.items()
        if name.startswith(_PROPERTIES) and value not in ("false", "none")
    ]
    if (found := _SHORT.fullmatch((state.properties.get(_RETENTION) or "").strip())) and (
        int(found[1]) * _SECONDS[found[2].lower()] < SHORTEST_S
    ):
        unknown.append(f"{_RETENTION} of less than two hours")
    if unknown:
        raise UnknownFeatureError(", ".join(unknown))
