"""The others in `make bench-writer`, each run in a process of its own: prints one JSON object.

``quix`` runs in the environment of requirements-writer.lock, the others in ours.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

TOPIC = "user_plays"


def _report(events: int, started: float, cpu: float, samples: list[int], *, ended: float = 0.0) -> None:
    spent = sum(os.times()[:2]) - cpu
    seconds = (ended or time.monotonic()) - started
    print(json.dumps({"events": events, "seconds": seconds, "cpu": spent, "peak_mb": _peak(), "samples_mb": samples}))


def _peak() -> int:
    """The most resident memory so far, in MB. Not ``ru_maxrss``: after an exec that begins at what the parent had."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


class Watch:
    """Resident memory in MB, sampled every half second."""

    def __init__(self) -> None:
        self.samples: list[int] = []
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self) -> None:
        with open("/proc/self/statm") as file:  # noqa: PTH123 - kept open: one read a sample
            while True:
                file.seek(0)
                self.samples.append(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20)
                time.sleep(0.5)


def _consumer(given: dict[str, Any], group: str) -> Any:
    import confluent_kafka as ck

    consumer = ck.Consumer(
        {
            "bootstrap.servers": given["kafka"],
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            **given.get("fetching", {}),
        }
    )
    consumer.assign([ck.TopicPartition(TOPIC, p, 0) for p in range(given["partitions"])])
    return consumer


def bare(given: dict[str, Any]) -> None:
    """confluent-kafka's consume and nothing else."""
    consumer = _consumer(given, "bench-bare")
    started, cpu, watch, count = 0.0, sum(os.times()[:2]), Watch(), 0
    while count < given["events"]:
        messages = consumer.consume(10_000, 1.0)
        started = started or time.monotonic()
        count += sum(1 for m in messages if m.error() is None)
    _report(count, started, cpu, watch.samples)
    consumer.close()


def plain(given: dict[str, Any]) -> None:
    """json, pandas, a Parquet file for every 100 events, s3fs."""
    import pandas as pd
    import s3fs

    s3 = s3fs.S3FileSystem(key=given["key"], secret=given["secret"], endpoint_url=given["s3"])
    consumer = _consumer(given, "bench-plain")
    started, cpu, watch, count = 0.0, sum(os.times()[:2]), Watch(), 0
    rows: list[Any] = []
    while count < given["events"]:
        message = consumer.poll(1.0)
        if message is None or message.error():
            continue
        started = started or time.monotonic()
        rows.append(json.loads(message.value()))
        count += 1
        if len(rows) == 100:
            with s3.open(f"{given['bucket']}/plain/{count}.parquet", "wb") as file:
                pd.DataFrame(rows).to_parquet(file, compression="zstd")
            consumer.commit(message, asynchronous=True)
            rows = []
    _report(count, started, cpu, watch.samples)
    consumer.close()


def quix(given: dict[str, Any]) -> None:
    """Quix Streams' sink to S3 with Parquet, at least once; it writes a file for each partition, of as many events as
    ours has in one for all."""
    from quixstreams import Application
    from quixstreams.sinks.community.file.formats.parquet import ParquetFormat
    from quixstreams.sinks.community.file.s3 import S3FileSink

    class Timed(S3FileSink):
        """Notes when the first message comes, and when the last file is there."""

        first = last = 0.0

        def add(self, *args: Any, **kwargs: Any) -> None:
            Timed.first = Timed.first or time.monotonic()
            super().add(*args, **kwargs)

        def flush(self, *args: Any, **kwargs: Any) -> None:
            super().flush(*args, **kwargs)
            Timed.last = time.monotonic()

    os.chdir(tempfile.mkdtemp(prefix="bench-quix-"))  # it makes a folder for its state
    app = Application(
        given["kafka"],
        consumer_group=given["group"],  # the next time reads from the beginning too
        auto_offset_reset="earliest",
        commit_every=given["flush"] * given["partitions"],
        consumer_extra_config=given.get("fetching", {}),
        commit_interval=60.0,
        loglevel="ERROR",
        use_changelog_topics=False,
    )
    sink = Timed(
        given["bucket"],
        given["key"],
        given["secret"],
        "us-east-1",
        given["s3"],
        directory="quix",
        format=ParquetFormat(compression="zstd"),
    )
    app.dataframe(app.topic(TOPIC, value_deserializer="json")).sink(sink)
    cpu, watch = sum(os.times()[:2]), Watch()
    app.run(count=given["events"], collect=False)
    _report(given["events"], Timed.first, cpu, watch.samples, ended=Timed.last)


def ours(given: dict[str, Any]) -> None:
    """The lake writer, from its first messages to its last commit."""
    from playlake.lean import with_jemalloc, without_pandas

    without_pandas()  # as the command does
    with_jemalloc()
    from playlake.lake.table import Table
    from playlake.lake.watching import Watcher
    from playlake.lake.writer import Writer

    settings = _settings(given)
    if given.get("no_offsets"):  # the same writer, but its commits carry no positions
        append = Table.append
        Table.append = lambda self, rows, *_: append(self, rows, {}, {})  # type: ignore[method-assign]
    spent = {"decode": 0.0, "write": 0.0}
    ends = {"first": 0.0, "last": 0.0}

    class Timed(Watcher):
        def polled(self, _polled: Any) -> None:
            ends["first"] = ends["first"] or time.monotonic()

        def flushed(self, _batch: Any, flushed: Any) -> None:
            ends["last"] = time.monotonic()
            spent["decode"] += flushed.decode_s
            spent["write"] += flushed.write_s

    writer = Writer(settings, watcher=Timed(), group=given["group"])
    cpu, watch = sum(os.times()[:2]), Watch()
    landed = writer.run(until_idle=True)
    used = sum(os.times()[:2]) - cpu
    print(
        json.dumps(
            {
                "events": landed.total,
                "seconds": ends["last"] - ends["first"],
                "cpu": used,
                "peak_mb": _peak(),
                "samples_mb": watch.samples,
                "flushes": landed.flushes,
                **spent,
            }
        )
    )


def age(given: dict[str, Any]) -> None:
    """Give the table so many versions, each with a file of one row. A process of its own: its memory is not ours."""
    from playlake import events
    from playlake.lake import tables
    from playlake.lake.decode import Decoder
    from playlake.lake.schema import bronze_rows
    from playlake.records import Run

    value = json.dumps(
        {
            **dict.fromkeys(("event_id", "user_id", "track_id", "track_name", "artist_name"), "old"),
            **dict.fromkeys(("album_name", "duration_ms", "device_type")),
            "event_type": "play",
            "played_at": "2026-01-01T00:00:00Z",
        }
    ).encode()
    run = Run.of(events.PLAYS, 0, [0], [1_767_225_600_000], [None], [value])
    rows = bronze_rows(events.PLAYS, Decoder(events.PLAYS).decode([run]).rows, "a former topic")
    table = tables.bronze(_settings(given), events.PLAYS)
    table.open()
    while table.version < given["versions"]:
        table.append(rows, {}, {})
    print(json.dumps({"versions": table.version}))


def _settings(given: dict[str, Any]) -> Any:
    """The servers of the bench, as somebody else's."""
    from playlake.settings import Settings

    return Settings(
        _env_file=None,
        profile="containers",
        kafka_bootstrap=given["kafka"],
        s3_endpoint=given["s3"],
        s3_access_key=given["key"],
        s3_secret_key=given["secret"],
        s3_bucket=given["bucket"],
        redis_url="redis://127.0.0.1:9/0",
        catchup_rows=given["flush"],
    )


if __name__ == "__main__":
    globals()[sys.argv[1]](json.loads(sys.argv[2]))
