"""The end of a soak: what is in the lake, whether gold is what a rebuild makes of it, and what has not stayed flat."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import duckdb
from deltalake import DeltaTable

from playlake import events
from playlake.lake import tables
from playlake.lake.options import storage_options
from playlake.settings import load_settings
from playlake.warehouse.build import folder
from playlake.warehouse.publish import current
from tests.support.commands import Cli

MORE = 1.25
SLACK_MIB = 16.0
"""What a second half may take beside the first: `MORE` times as much, and this for noise."""
ROW_BYTES = 2048
"""What an event that came in the second half may add to all that is on disk: an object of its own in the embedded
broker's log, of about a kilobyte, until that is trimmed, and rows in small files of bronze, in silver and in gold."""
_FEWEST_HOURS = 8

_BUILDS = {"hourly": ("build",), "rebuilt": ("build", "--full-refresh")}


def ids(cli: Cli) -> set[str]:
    """Every event's id in the lake, by Delta's own reader."""
    settings = cli.settings()
    found: set[str] = set()
    for topic in (events.PLAYS, events.SKIPS, events.LIKES):
        uri = f"s3://{settings.s3_bucket}/{tables.FOLDERS[topic]}"
        table = DeltaTable(uri, storage_options=storage_options(settings))
        found.update(table.to_pyarrow_table(columns=["event_id"])["event_id"].to_pylist())
    return found


def compare_gold(cli: Cli, work: Path) -> dict[str, int]:
    """Build what is new, then all anew; by table of gold, the rows that only one of the two has.

    :raises AssertionError: when the two do not even have the same tables.
    """
    with duckdb.connect() as connection:
        names = []
        for name, command in _BUILDS.items():
            cli.json(*command)
            published = current(folder(load_settings(_env_file=None, home=cli.home)))
            assert published
            copy = shutil.copyfile(published.path, work / f"{name}.duckdb")
            connection.execute(f"attach '{copy}' as {name} (read_only)")
            names.append(
                connection.execute(
                    "select table_name from duckdb_tables()"
                    " where database_name = ? and schema_name = 'gold' order by 1",
                    [name],
                ).fetchall()
            )
        assert names[0], "there is no gold"
        assert names[0] == names[1], f"gold's tables are not the same: {names}"
        found = {}
        for (table,) in names[0]:
            one, other = (f"select * from {name}.gold.{table}" for name in _BUILDS)
            query = f"select count(*) from (({one} except all {other}) union all ({other} except all {one}))"
            found[str(table)] = int(connection.execute(query).fetchall()[0][0])
        return found


def judged(hours: Sequence[object]) -> bool:
    """Whether these are enough hours to say that something grows."""
    return len(hours) >= _FEWEST_HOURS


def grown(memory: Sequence[Mapping[str, float]], disk: Sequence[Mapping[str, float]], rows: Sequence[int]) -> list[str]:
    """What has not stayed flat, in words; nothing of too few hours (:func:`judged`).

    :param memory: by hour in which nothing was killed, the most of each process, in MiB. The feed's is left out: it
        remembers what it has sent.
    :param disk: by hour, what lies on disk, in MiB. It grows with what was listened to, and for each event no faster.
    :param rows: by hour, the events that came into the lake.
    """
    found = []
    half = len(memory) // 2
    for name in sorted({name for hour in memory for name in hour} - {"feed"}) if judged(memory) else ():
        parts = [[hour[name] for hour in part if name in hour] for part in (memory[:half], memory[half:])]
        before, after = (median(part) if part else 0.0 for part in parts)
        if after > MORE * before + SLACK_MIB:
            found.append(f"memory of {name} has grown: from {before:.0f} to {after:.0f} MiB, medians of the halves")
    if not judged(disk):
        return found
    half = len(disk) // 2
    earlier, came = sum(rows[1:half]), sum(rows[half:])
    for name in disk[0]:
        first, second = disk[half - 1][name] - disk[0][name], disk[-1][name] - disk[half - 1][name]
        if second > MORE * max(first, 0.0) * came / max(earlier, 1) + SLACK_MIB:
            found.append(
                f"disk for {name} grows faster: {first:.0f} MiB for {earlier:,} events, then {second:.0f} for {came:,}"
            )
    more = disk[-1]["all"] - disk[half - 1]["all"]
    if more * 2**20 > ROW_BYTES * came + SLACK_MIB * 2**20:
        found.append(f"disk has grown by {more:.0f} MiB in the second half, for {came:,} events")
    return found
