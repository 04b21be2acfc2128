"""Which tables the lake has, and where."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa

from playlake import events
from playlake.lake import log
from playlake.lake.schema import BRONZE, DEAD_LETTERS, KNOWN_GAPS, LOG_GAPS, REPLAYS
from playlake.lake.store import ERRORS, Store
from playlake.lake.table import Table, WriteFailedError
from playlake.settings import Settings

if TYPE_CHECKING:
    from playlake.lake.delta import Live

FOLDERS = {
    events.PLAYS: "bronze/plays",
    events.SKIPS: "bronze/skips",
    events.LIKES: "bronze/likes",
    events.NOW_PLAYING: "raw/currently_playing",
}
DEAD_LETTERS_FOLDER = "bronze/dead_letters"
LOG_GAPS_FOLDER = "bronze/log_gaps"
KNOWN_GAPS_FOLDER = "bronze/known_gaps"
REPLAYS_FOLDER = "bronze/replays"


def bronze(settings: Settings, topic: str, store: Store | None = None) -> Table:
    """The table in which a topic lands."""
    return Table(settings, FOLDERS[topic], BRONZE[topic], store)


def dead_letters(settings: Settings, store: Store | None = None) -> Table:
    """The table of messages that could not be events."""
    return Table(settings, DEAD_LETTERS_FOLDER, DEAD_LETTERS, store)


def log_gaps(settings: Settings, store: Store | None = None) -> Table:
    """The table of what retention removed from Kafka before it was landed."""
    return Table(settings, LOG_GAPS_FOLDER, LOG_GAPS, store)


def known_gaps(settings: Settings, store: Store | None = None) -> Table:
    """The table of those gaps whose loss somebody has acknowledged."""
    return Table(settings, KNOWN_GAPS_FOLDER, KNOWN_GAPS, store)


def replays(settings: Settings, store: Store | None = None) -> Table:
    """The table of dead letters that were sent again."""
    return Table(settings, REPLAYS_FOLDER, REPLAYS, store)


def every(settings: Settings, store: Store | None = None) -> list[Table]:
    """All tables of the lake; one that is not there yet is made, empty."""
    store = store or Store(settings)
    found = [*(bronze(settings, topic, store) for topic in FOLDERS), dead_letters(settings, store)]
    for table in found:
        table.open()
    return found


def prunable(settings: Settings) -> list[Table]:
    """All tables in which a writer that died can have left files: those of :func:`every`, and those kept beside them
    where they are there."""
    store = Store(settings)
    beside = (log_gaps(settings, store), known_gaps(settings, store), replays(settings, store))
    return [*every(settings, store), *(table for table in beside if table.is_there())]


def snapshot(settings: Settings) -> dict[str, int]:
    """By folder, the latest version of each table; a table that is not there yet is made, empty."""
    return look(settings)[0]


def look(settings: Settings) -> tuple[dict[str, int], str]:
    """The same, and a mark of the state: another lake has another one, also where its tables are at these versions."""
    found = every(settings)
    positions = json.dumps({table.folder: dict(table.positions) for table in found}, sort_keys=True)
    return {table.folder: table.version for table in found}, hashlib.sha256(positions.encode()).hexdigest()


def schemas() -> dict[str, pa.Schema]:
    """By folder, the columns of each table of the lake."""
    return {**{folder: BRONZE[topic] for topic, folder in FOLDERS.items()}, DEAD_LETTERS_FOLDER: DEAD_LETTERS}


def live_files(settings: Settings) -> Callable[[str, int], Live]:
    """What tells the live files of a folder of the lake at a version."""
    known = schemas()
    return lambda folder, version: Table(settings, folder, known[folder]).live(version)


def rows_at(settings: Settings, folder: str, version: int) -> int | None:
    """Rows of a table at a version, as its log has them: the files of then may be gone since. None where the log has
    forgotten the version too.

    :raises WriteFailedError: when the store failed.
    """
    try:
        return sum(live_files(settings)(folder, version).files.values())
    except WriteFailedError as failed:
        try:
            there = Store(settings).read_all([log.entry(folder, version)])
        except ERRORS:
            raise failed from failed.__cause__
        if there:
            raise
        return None
