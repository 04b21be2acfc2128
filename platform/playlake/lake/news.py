"""Whether a table has the same rows as at an earlier version: compaction and pruning make versions, and no news."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from playlake.lake import log
from playlake.settings import Settings

if TYPE_CHECKING:
    from playlake.lake.store import Store

_AT_ONCE = 32
"""Entries of the log that are fetched together, the latest first: news is mostly at the end."""

_told: dict[tuple[str | None, str, str, int, int], bool] = {}
"""What was found once stays true: an entry of a log never changes."""


class _File(msgspec.Struct, rename="camel"):
    data_change: bool = True


class _Transaction(msgspec.Struct, rename="camel"):
    app_id: str


class _Entry(msgspec.Struct, rename="camel"):
    add: _File | None = None
    remove: _File | None = None
    txn: _Transaction | None = None
    commit_info: dict[str, Any] | None = None


def same_rows(settings: Settings) -> Callable[[str, int, int], bool]:
    """What tells, of a folder of the lake, whether its rows are the same at two versions, the earlier one first.

    False where it is not known: where the log has forgotten a version between them, or the store does not answer.
    """

    def same(folder: str, since: int, until: int) -> bool:
        if since == until:
            return True
        key = (settings.s3_endpoint, settings.s3_bucket, folder, since, until)
        if key not in _told:
            from playlake.lake.store import ERRORS, Store  # a second of imports that most looks do without

            unknown: tuple[type[Exception], ...] = (msgspec.MsgspecError, *ERRORS)
            try:
                _told[key] = _only_rewritten(Store(settings), folder, since, until)
            except unknown:
                return False
        return _told[key]

    return same


def _only_rewritten(store: Store, folder: str, since: int, until: int) -> bool:
    if since > until:  # another table has taken its place
        return False
    left = [log.entry(folder, version) for version in range(until, since, -1)]
    while left:
        keys, left = left[:_AT_ONCE], left[_AT_ONCE:]
        bodies = store.read_all(keys)
        if len(bodies) < len(keys) or not all(_is_rewrite(body) for body in bodies.values()):
            return False
    return True


def _is_rewrite(body: bytes) -> bool:
    """Whether an entry says by itself that it changes no data, and moves no position but compaction's own."""
    entries = [msgspec.json.decode(line, type=_Entry) for line in body.splitlines() if line.strip()]
    return all(
        (e.add is not None and not e.add.data_change)
        or (e.remove is not None and not e.remove.data_change)
        or (e.txn is not None and e.txn.app_id == log.COMPACTION)
        or e.commit_info is not None
        for e in entries
    )
