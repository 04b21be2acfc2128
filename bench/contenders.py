"""What bench/writer.py measures, each in a process of its own: `contenders.py ours|without-offsets|bare|plain COUNT`.

The clock of each runs from the moment its partitions are assigned to the end of its last commit or file: joining a
group takes three seconds on the embedded broker whoever joins, and waiting for an idle topic is no work. What was
measured is left as JSON in the file named by ``BENCH_OUT``.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import confluent_kafka as ck

from playlake import events
from playlake.settings import Settings, load_settings

PLAIN_ROWS = 100
"""Events of one file of the plain loop."""


def ours(_settings: Settings, _count: int) -> None:
    """The command `playlake land --until-idle` as it is, with a look at the clock around its work on the lake."""
    from playlake.cli import main
    from playlake.lake import writer
    from playlake.lake.landing import Flushed, Landing, Located

    times = _Times()
    work: dict[str, float] = {"decode_s": 0.0, "write_s": 0.0, "flushes": 0}

    class Timed(Landing):
        def locate(self, *args: Any) -> Located:
            times.begin()
            return super().locate(*args)

        def flush(self, *args: Any) -> Flushed:
            flushed = super().flush(*args)
            times.done(flushed.rows)
            work["decode_s"] += flushed.decode_s
            work["write_s"] += flushed.write_s
            work["flushes"] += 1
            return flushed

    writer.Landing = Timed  # type: ignore[misc]
    sys.argv = ["playlake", "land", "--until-idle", "--json"]
    try:
        main()
    finally:
        _leave(times, **work)


def without_offsets(settings: Settings, count: int) -> None:
    """The same writer, whose commits carry no positions and check none."""
    from playlake.lake.tables import Table

    append = Table.append
    Table.append = lambda self, rows, _expected, _following: append(self, rows, {}, {})  # type: ignore[method-assign]
    ours(settings, count)


def bare(settings: Settings, count: int) -> None:
    """librdkafka's rate: take messages and do nothing with them."""
    times = _Times()
    with _Subscribed(settings, times) as consumer:
        got = 0
        while got < count:
            got += sum(1 for m in consumer.consume(10_000, 1.0) if m.error() is None)
        times.done(got)
    _leave(times)


def plain(settings: Settings, count: int) -> None:
    """The loop that everybody writes first: json, pandas, one Parquet file every 100 events; no promise of any kind."""
    import pandas as pd
    import s3fs

    store = s3fs.S3FileSystem(
        key=settings.s3_access_key and settings.s3_access_key.get_secret_value(),
        secret=settings.s3_secret_key and settings.s3_secret_key.get_secret_value(),
        endpoint_url=settings.s3_endpoint,
    )
    bucket = f"{settings.s3_bucket}/plain"
    times = _Times()
    rows: list[Any] = []
    with _Subscribed(settings, times) as consumer:
        while times.rows < count:
            message = consumer.poll(1.0)
            if message is None or message.error():
                continue
            rows.append(json.loads(message.value()))
            if len(rows) == PLAIN_ROWS:
                body = io.BytesIO()
                pd.DataFrame(rows).to_parquet(body, compression="zstd")
                store.pipe_file(f"{bucket}/{times.rows:012}.parquet", body.getvalue())
                times.done(len(rows))
                rows = []
    _leave(times)


class _Times:
    """When the work began and when it was last done with, and how many rows that was."""

    def __init__(self) -> None:
        self.began: float | None = None
        self.ended = 0.0
        self.rows = 0

    def begin(self) -> None:
        self.began = self.began or time.monotonic()

    def done(self, rows: int) -> None:
        self.rows += rows
        self.ended = time.monotonic()


class _Subscribed:
    """A consumer with librdkafka's defaults, from the beginning of the topic, in a group of its own."""

    def __init__(self, settings: Settings, times: _Times) -> None:
        from playlake.broker import config

        self._times = times
        self._consumer = ck.Consumer(
            {
                **config.librdkafka(settings),
                "group.id": f"bench-{os.getpid()}-{time.time_ns()}",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "session.timeout.ms": 6000,
            }
        )

    def __enter__(self) -> ck.Consumer:
        def assigned(_consumer: ck.Consumer, _partitions: Iterable[ck.TopicPartition]) -> None:
            self._times.begin()

        self._consumer.subscribe([events.PLAYS], on_assign=assigned)
        return self._consumer

    def __exit__(self, *_: object) -> None:
        self._consumer.close()


def _leave(times: _Times, **more: float) -> None:
    seconds = times.ended - (times.began or times.ended)
    said = {"rows": times.rows, "work_s": seconds, **more}
    Path(os.environ["BENCH_OUT"]).write_text(json.dumps(said))


RUNS: dict[str, Callable[[Settings, int], None]] = {
    "ours": ours,
    "without-offsets": without_offsets,
    "bare": bare,
    "plain": plain,
}

if __name__ == "__main__":
    RUNS[sys.argv[1]](load_settings(_env_file=None), int(sys.argv[2]))
