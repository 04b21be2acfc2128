"""What a build costs as the lake grows: 1, 5 and 20 million plays, built in full, then with one more day.

    .venv/bin/python bench/warehouse.py [1 5 20]

The lake is a real one, on the embedded stack in a folder of its own: the same 500 listeners, 50 plays a day, for 40,
200 and 800 days, so that a day is 25,000 plays at each size. Each figure is of the whole command `playlake build`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pyarrow as pa

from playlake import events
from playlake.lake import tables
from playlake.lake.deliver import app_id
from playlake.lake.schema import BRONZE
from playlake.settings import load_settings
from playlake.stack import EmbeddedStack, attach
from tests.support.interruptible import interruptible

LISTENERS, PLAYS_A_DAY, PARTITIONS = 500, 50, 4
TRACKS, ARTISTS = 60_000, 6_000
FIRST_DAY = datetime(2023, 1, 1, tzinfo=UTC)
CHUNK_DAYS = 20
TOPIC_ID = "bench"

PLAYS = f"""
with plays as (
    select
        day,
        listener,
        n,
        -- Two thirds of what a listener plays comes from a taste of 300 tracks, the rest from everybody's charts.
        case
            when hash(day, listener, n, 'kind') % 3 < 2
                then hash(listener, cast(300 * power(hash(day, listener, n) % 10007 / 10007.0, 2) as bigint)) % {TRACKS}
            else cast({TRACKS} * power(hash(day, listener, n, 'chart') % 100003 / 100003.0, 4) as bigint)
        end as track
    from range($first, $last) as days(day)
    cross join range({LISTENERS}) as listeners(listener)
    cross join range({PLAYS_A_DAY}) as plays(n)
),

timed as (
    select
        *,
        $start::timestamptz + to_days(cast(day as integer))
        -- Three sittings a day.
        + to_seconds(28800 + 18000 * (n % 3) + 210 * (n // 3) + cast(hash(day, listener) % 3600 as bigint)) as ended
    from plays
)

select
    cast(md5(concat_ws('/', day, listener, n))::uuid as varchar) as event_id,
    'listener-' || listener as user_id,
    'play' as event_type,
    'track-' || track as track_id,
    'Track ' || track as track_name,
    'Artist ' || (track % {ARTISTS}) as artist_name,
    'Album ' || (track % 20000) as album_name,
    cast(180000 + track % 90 * 1000 as bigint) as duration_ms,
    ended as played_at,
    case when hash(listener, day // 7) % 4 = 0 then 'computer' else 'phone' end as device_type,
    'simulator' as source,
    cast(case when hash(day, listener, n, 'skip') % 10 = 0 then 12000 else 200000 end as bigint) as ms_played,
    ended - to_milliseconds(case when hash(day, listener, n, 'skip') % 10 = 0 then 12000 else 200000 end) as started_at,
    ended as ended_at,
    1.0 as time_precision_s,
    hash(day, listener, n, 'skip') % 10 = 0 as skipped,
    '{events.PLAYS}' as _kafka_topic,
    '{TOPIC_ID}' as _kafka_topic_id,
    cast(listener % {PARTITIONS} as integer) as _kafka_partition,
    row_number() over (partition by listener % {PARTITIONS} order by ended, listener, n) - 1
    + $first * {LISTENERS * PLAYS_A_DAY // PARTITIONS} as _kafka_offset,
    ended as _kafka_timestamp,
    strftime(ended, '%Y') as year,
    strftime(ended, '%m') as month,
    strftime(ended, '%d') as day,
    '00' as hour
from timed
order by ended
"""


class Lake:
    """A lake of its own, filled as a writer fills it: in commits that carry their positions."""

    def __init__(self, home: Path) -> None:
        self.settings = attach(load_settings(_env_file=None, home=home))
        tables.snapshot(self.settings)
        self._plays = tables.bronze(self.settings, events.PLAYS)
        self._days = 0

    def listen(self, days: int) -> None:
        """Let so many more days land."""
        for first in range(self._days, self._days + days, CHUNK_DAYS):
            last = min(first + CHUNK_DAYS, self._days + days)
            with duckdb.connect() as connection:
                connection.execute("set timezone = 'UTC'")
                found = connection.execute(PLAYS, {"first": first, "last": last, "start": FIRST_DAY}).to_arrow_table()
            schema = BRONZE[events.PLAYS]
            missing = {f.name: pa.nulls(found.num_rows, f.type) for f in schema if f.name not in found.column_names}
            rows = pa.table(
                {
                    f.name: missing.get(f.name, found.column(f.name) if f.name in found.column_names else None)
                    for f in schema
                }
            )
            apps = [app_id(events.PLAYS, TOPIC_ID, p) for p in range(PARTITIONS)]
            following = last * LISTENERS * PLAYS_A_DAY // PARTITIONS
            before = dict.fromkeys(apps, first * LISTENERS * PLAYS_A_DAY // PARTITIONS or None)
            self._plays.append(rows.cast(schema), before, dict.fromkeys(apps, following))
        self._days += days


def build(home: Path, *options: str) -> dict[str, Any]:
    """One `playlake build`: seconds, peak memory of all its processes in MiB, and what it built."""
    environment = {**os.environ, "PLAYLAKE_HOME": str(home)}
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "playlake", "build", "--json", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        root = psutil.Process(process.pid)
        while not done.wait(0.05):
            try:
                peak = max(peak, sum(p.memory_info().rss for p in [root, *root.children(recursive=True)]))
            except psutil.NoSuchProcess:
                continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, _ = process.communicate()
    seconds = time.monotonic() - started
    done.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(out)
    return {"seconds": seconds, "peak_mb": peak / 2**20, **json.loads(out)}


def measure(millions: int, work: Path) -> dict[str, Any]:
    """The figures of one size."""
    home = work / f"home-{millions}"
    stack = EmbeddedStack(load_settings(_env_file=None, home=home))
    stack.up()
    try:
        lake = Lake(home)
        days = millions * 1_000_000 // (LISTENERS * PLAYS_A_DAY)
        lake.listen(days - 1)
        full = build(home)
        again = build(home)
        lake.listen(1)
        more = build(home)
        if os.environ.get("BENCH_KEEP"):
            print(home, file=sys.stderr)
    finally:
        stack.down()
    return {"plays": more["silver"]["silver_plays"], "full": full, "again": again, "more": more}


def main() -> None:
    """Print the table as Markdown."""
    sizes = [int(a) for a in sys.argv[1:]] or [1, 5, 20]
    print("| plays | full build | nothing new | one more day (25,000 plays) | peak memory |")
    print("|---:|---:|---:|---:|---:|")
    first: float | None = None
    with tempfile.TemporaryDirectory() as work:
        for millions in sizes:
            found = measure(millions, Path(os.environ.get("BENCH_KEEP", work)))
            more = found["more"]["seconds"]
            first = first or more
            peak = max(found[k]["peak_mb"] for k in ("full", "again", "more"))
            print(
                f"| {found['plays']:,} | {found['full']['seconds']:.1f} s | {found['again']['seconds']:.1f} s |"
                f" {more:.1f} s ({more / first:.2f} times) | {peak:,.0f} MiB |",
                flush=True,
            )


if __name__ == "__main__":
    interruptible(main)
