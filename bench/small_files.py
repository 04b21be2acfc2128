"""What small files cost a reader, and what compaction gives back. Prints a Markdown table.

Days of a writer that flushes every 100 events or 60 seconds: a quiet one with 1,440 commits and a busy one with 4,320
(5 plays a second), of 100 plays each, with the day's own time stamps, committed by the lake writer's own table to the
embedded store. The same rows lie in one Parquet file made by hand (sorted alike, zstd), in the same store. DuckDB scans
each as a build does (`delta_scan`, every column), in a new connection each time, turn by turn; medians of all turns.
The limit is beside the faster of the two hand-made files.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from playlake import events
from playlake.lake import tables
from playlake.lake.compact import Compacted, compact
from playlake.lake.deliver import app_id
from playlake.lake.options import storage_options
from playlake.lake.rewriting import ORDER
from playlake.lake.schema import BRONZE, PARTITION_COLUMNS
from playlake.lake.store import Store
from playlake.lake.table import Table
from playlake.settings import Settings, load_settings
from playlake.stack import EmbeddedStack, attach
from playlake.warehouse import duck
from tests.support.interruptible import interruptible

DAYS = (1_440, 4_320)
"""Commits a day."""
DAY_US = 86_400_000_000
ROWS = 100
TURNS = 15
TURNS_BEFORE = 3
"""Of the table of small files, of which one takes seconds."""
LIMIT = 1.2
PARTITIONS = 4
TOPIC_ID = "11111111-1111-1111-1111-111111111111"
HAND_MADE = "by_hand/plays.parquet"
HAND_MADE_PARTS = "by_hand/plays-in-row-groups.parquet"
PART_ROWS = 122_880
"""Rows of a row group as DuckDB writes them; pyarrow makes one group of a whole day, which one core reads."""

PLAYS = """
select
    uuid()::varchar as event_id,
    'listener-' || hash(n, 1) % 500 as user_id,
    'play' as event_type,
    'track-' || hash(n, 2) % 20000 as track_id,
    'Track ' || hash(n, 2) % 20000 as track_name,
    'Artist ' || hash(n, 2) % 2000 as artist_name,
    'Album ' || hash(n, 2) % 5000 as album_name,
    (120000 + hash(n, 2) % 200000)::bigint as duration_ms,
    moment as played_at,
    'phone' as device_type,
    'simulator' as source,
    (30000 + hash(n, 3) % 90000)::bigint as ms_played,
    moment as ended_at,
    1.0::double as time_precision_s,
    '{topic}' as _kafka_topic,
    '{topic_id}' as _kafka_topic_id,
    (n % {partitions})::int as _kafka_partition,
    (n // {partitions})::bigint as _kafka_offset,
    moment as _kafka_timestamp
from (
    select n, make_timestamptz(1767225600000000 + n * {apart}) as moment
    from range({first}, {last}) as numbers (n)
)
"""


def land(table: Table, commits: int) -> None:
    """The day, commit by commit."""
    stored = pa.schema([f for f in BRONZE[events.PLAYS] if f.name not in PARTITION_COLUMNS])
    values: dict[str, Any] = {"topic": events.PLAYS, "topic_id": TOPIC_ID, "partitions": PARTITIONS}
    values["apart"] = DAY_US // commits // ROWS
    apps = [app_id(events.PLAYS, TOPIC_ID, p) for p in range(PARTITIONS)]
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        for number in range(commits):
            query = PLAYS.format(**values, first=number * ROWS, last=(number + 1) * ROWS)
            found = connection.execute(query).to_arrow_table()
            columns = [
                found.column(f.name).cast(f.type) if f.name in found.column_names else pa.nulls(found.num_rows, f.type)
                for f in stored
            ]
            rows = pa.Table.from_arrays(columns, schema=stored)
            table.append(rows, {}, dict.fromkeys(apps, (number + 1) * ROWS // PARTITIONS))


def by_hand(settings: Settings, uri: str) -> list[int]:
    """One file of all rows, as a person would write it, and one in row groups; their bytes."""
    rows = DeltaTable(uri, storage_options=storage_options(settings)).to_pyarrow_table().sort_by(ORDER)
    sizes = []
    for key, groups in ((HAND_MADE, None), (HAND_MADE_PARTS, PART_ROWS)):
        made = pa.BufferOutputStream()
        pq.write_table(rows.drop_columns(list(PARTITION_COLUMNS)), made, compression="zstd", row_group_size=groups)
        body = made.getvalue().to_pybytes()
        Store(settings).write(key, body)
        sizes.append(len(body))
    return sizes


def scan(settings: Settings, relation: str, rows: int) -> float:
    """Seconds of one scan of every column; the connection is new, so that nothing is remembered."""
    with duck.connect(settings) as connection:
        connection.execute("select 1").fetchall()
        started = time.monotonic()
        found = connection.execute(
            "select count(*), bit_xor(every) from (select hash(*columns(* exclude (year, month, day, hour))) as every"
            f" from {relation})"
            if "delta_scan" in relation
            else f"select count(*), bit_xor(every) from (select hash(*columns(*)) as every from {relation})"
        ).fetchall()
        seconds = time.monotonic() - started
    if found[0][0] != rows:
        raise SystemExit(f"{relation} has {found[0][0]:,} rows")
    return seconds


def medians(scans: dict[str, Callable[[], float]], turns: int) -> dict[str, float]:
    """The median of each, taken turn by turn so that what else the machine does meets all."""
    found: dict[str, list[float]] = {name: [] for name in scans}
    for look in scans.values():
        look()  # the first of each warms the store's cache
    for _ in range(turns):
        for name, look in scans.items():
            found[name].append(look())
    return {name: statistics.median(times) for name, times in found.items()}


def measure(settings: Settings, commits: int) -> tuple[dict[str, float], dict[str, int], Compacted, float]:
    """Seconds by what was scanned, files by the same, what compaction did, and the seconds it took."""
    rows = commits * ROWS
    table = tables.bronze(settings, events.PLAYS)
    land(table, commits)
    sizes = by_hand(settings, table.uri)
    delta = f"delta_scan('{table.uri}')"
    one, parts = (
        f"read_parquet('s3://{settings.s3_bucket}/{key}', hive_partitioning = false)"
        for key in (HAND_MADE, HAND_MADE_PARTS)
    )
    scans = {
        "delta": lambda: scan(settings, delta, rows),
        "hand": lambda: scan(settings, one, rows),
        "parts": lambda: scan(settings, parts, rows),
    }
    before = medians(scans, TURNS_BEFORE)
    started = time.monotonic()
    done = compact(settings, table)
    took = time.monotonic() - started
    after = medians(scans, TURNS)
    files = {
        "before": done.files_before,
        "after": done.files_after,
        "hand": 1,
        "hand bytes": sizes[0],
        "parts bytes": sizes[1],
    }
    times = {"before": before["delta"], "after": after["delta"], "hand": after["hand"], "parts": after["parts"]}
    return times, files, done, took


def day(commits: int) -> float:
    """Print the rows of one day; how often the time of the faster hand-made file the compacted table takes."""
    with tempfile.TemporaryDirectory() as work:
        home = Path(work) / "home"
        stack = EmbeddedStack(load_settings(_env_file=None, home=home))
        stack.up()
        try:
            settings = attach(load_settings(_env_file=None, home=home))
            tables.snapshot(settings)
            seconds, files, done, took = measure(settings, commits)
        finally:
            stack.down()
    rows = [
        ("before", files["before"], done.bytes_before, seconds["before"]),
        (f"compacted in {took:.1f} s", files["after"], done.bytes_after, seconds["after"]),
        ("one file made by hand", 1, files["hand bytes"], seconds["hand"]),
        (f"the same in row groups of {PART_ROWS:,}", 1, files["parts bytes"], seconds["parts"]),
    ]
    faster = min(seconds["hand"], seconds["parts"])
    for name, count, size, time_s in rows:
        print(
            f"| {commits * ROWS:,} plays | {name} | {count:,} | {size / 2**20:,.1f} MiB | {time_s * 1000:,.0f} ms |"
            f" {time_s / faster:.2f} times |",
            flush=True,
        )
    return seconds["after"] / faster


def main() -> None:
    """Print the table as Markdown; exit code 1 where the limit is not kept."""
    days = [int(a) for a in sys.argv[1:]] or DAYS
    turns = f"medians of {TURNS} turns, of the first row {TURNS_BEFORE}"
    print(f"{datetime.now(UTC):%Y-%m-%d}, `make bench-small-files`; {turns}.\n")
    print("| day | what DuckDB scans | files | size | median | beside the faster hand-made file |")
    print("|---|---|---:|---:|---:|---:|")
    over = [f"{commits:,} commits: {ratio:.2f}" for commits in days if (ratio := day(commits)) > LIMIT]
    if over:
        raise SystemExit(f"More than {LIMIT} times the faster of the hand-made files: {', '.join(over)}")


if __name__ == "__main__":
    interruptible(main)
