"""`playlake lake verify` of a million rows: how long it takes, and where the time goes. Prints Markdown.

1,000,000 plays of about 300 bytes in 4 partitions of the real broker, landed in a few hundred files (the rows are
written with the lake's own `Table.append`, as fast as the offsets are known), then the whole command, three times.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import duckdb
import pyarrow as pa

from playlake import broker, events
from playlake.lake import tables
from playlake.lake.deliver import app_id
from playlake.lake.schema import BRONZE
from playlake.settings import Settings, load_settings
from playlake.stack import EmbeddedStack, attach
from tests.support.interruptible import interruptible

ROWS = 1_000_000
PARTITIONS = 4
COMMITS = 300
REPEATS = 3
BODY = json.dumps({"event_id": "0" * 36, "user_id": "someone", "filler": "x" * 230}).encode()

PLAYS = """
select
    'id-' || md5(n::varchar) as event_id,
    'listener-' || n % 500 as user_id,
    'play' as event_type,
    'track-' || hash(n) % 20000 as track_id,
    'Track ' || hash(n) % 20000 as track_name,
    'Artist ' || hash(n) % 2000 as artist_name,
    'Album ' || hash(n) % 5000 as album_name,
    200000::bigint as duration_ms,
    make_timestamptz(1767225600000000 + n * 1000) as played_at,
    'phone' as device_type,
    'simulator' as source,
    180000::bigint as ms_played,
    '{topic}' as _kafka_topic,
    '{topic_id}' as _kafka_topic_id,
    {partition}::int as _kafka_partition,
    n::bigint as _kafka_offset,
    make_timestamptz(1767225600000000 + n * 57600) as _kafka_timestamp
from range({first}, {last}) as numbers (n)
"""


def produce(settings: Settings) -> None:
    """Plays as fast as librdkafka sends them; what is in them does not matter to the verifier."""
    producer = ck.Producer(
        {
            "bootstrap.servers": settings.kafka_bootstrap,
            "linger.ms": 50,
            "batch.size": 500_000,
            "queue.buffering.max.messages": 500_000,
        }
    )
    for number in range(ROWS):
        while True:
            try:
                producer.produce(events.PLAYS, BODY, partition=number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 10_000 == 0:
            producer.poll(0)
    if producer.flush(120):
        raise SystemExit("not everything was produced")


def land(settings: Settings, topic_id: str, count: int) -> None:
    """The same offsets into the lake, in ``COMMITS`` commits."""
    table = tables.bronze(settings, events.PLAYS)
    schema = BRONZE[events.PLAYS]
    names = ("year", "month", "day", "hour")
    formats = dict(zip(names, ("%Y", "%m", "%d", "%H"), strict=True))
    folders = ", ".join(f"strftime(_kafka_timestamp, '{formats[n]}') as {n}" for n in names)
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        for number in range(COMMITS):
            first, last = (count * n // COMMITS for n in (number, number + 1))
            parts = " union all ".join(
                "(" + PLAYS.format(topic=events.PLAYS, topic_id=topic_id, partition=p, first=first, last=last) + ")"
                for p in range(PARTITIONS)
            )
            found = connection.execute(f"select *, {folders} from ({parts})").to_arrow_table()
            columns = [
                found.column(f.name).cast(f.type) if f.name in found.column_names else pa.nulls(found.num_rows, f.type)
                for f in schema
            ]
            apps = [app_id(events.PLAYS, topic_id, p) for p in range(PARTITIONS)]
            rows = pa.Table.from_arrays(columns, schema=schema)
            table.append(rows, dict.fromkeys(apps, first or None), dict.fromkeys(apps, last))


def verify(home: Path) -> tuple[float, Any, dict[str, float]]:
    """Seconds of the whole command, its report, and the seconds until each stage that it tells."""
    started = time.monotonic()
    command = [sys.executable, "-m", "playlake", "lake", "verify", "--json"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PLAYLAKE_HOME": str(home)},
    )
    stages: dict[str, float] = {}
    for line in process.stderr or ():
        stages.setdefault(line.strip().partition(":")[0], time.monotonic() - started)
    out = process.stdout.read() if process.stdout else ""
    if process.wait():
        raise SystemExit(out)
    return time.monotonic() - started, json.loads(out), stages


def main() -> None:
    """Print the table as Markdown."""
    with tempfile.TemporaryDirectory() as work:
        home = Path(work) / "home"
        stack = EmbeddedStack(load_settings(_env_file=None, home=home))
        stack.up()
        try:
            settings = attach(load_settings(_env_file=None, home=home))
            tables.snapshot(settings)
            with broker.Admin(settings) as admin:
                topic_id = admin.ensure(events.TOPICS)[events.PLAYS].topic_id
            produce(settings)
            land(settings, topic_id, ROWS // PARTITIONS)
            found = [verify(home) for _ in range(REPEATS)]
        finally:
            stack.down()
    seconds, report, stages = sorted(found, key=lambda f: f[0])[len(found) // 2]
    in_log, files = sum(p["in_log"] for p in report["partitions"]), report["files"]
    if in_log != ROWS or not report["healthy"]:
        raise SystemExit(f"the lake is not as it was made: {in_log:,} messages, {report['findings']}")
    times = [f[0] for f in found]
    print(f"{datetime.now(UTC):%Y-%m-%d}, `make bench-verify`: {in_log:,} messages, {files:,} files.")
    print(f"Seconds of {REPEATS} runs: {', '.join(f'{t:.1f}' for t in times)}; median {statistics.median(times):.1f}.")
    print("\n| stage of the median run | seconds |\n|---|---:|")
    for (name, at), (_, until) in itertools.pairwise([("start", 0.0), *stages.items(), ("end", seconds)]):
        print(f"| {name} | {until - at:.1f} |")


if __name__ == "__main__":
    interruptible(main)
