"""Quix Streams' S3 file sink with zstd Parquet, run by bench/writer.py in an environment of its own.

`quix_sink.py COUNT`, with the addresses in ``PLAYLAKE_…``. Everything is Quix's own default but what is set here: the
Parquet format, zstd as in ours, and the session's length, which decides how long the embedded broker lets it join. It
flushes at each checkpoint, every 5 s by default.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from quixstreams import Application
from quixstreams.sinks.community.file.formats import ParquetFormat
from quixstreams.sinks.community.file.s3 import S3FileSink

count = int(sys.argv[1])
times: dict[str, float] = {}
rows = 0


class Timed(Application):
    """Notes when the partitions are assigned."""

    def _on_assign(self, *args: Any) -> None:
        times.setdefault("began", time.monotonic())
        super()._on_assign(*args)


class Sink(S3FileSink):
    """Notes when a file has been put."""

    def write(self, batch: Any) -> None:
        global rows  # noqa: PLW0603 - a script
        super().write(batch)
        rows += batch.size
        times["ended"] = time.monotonic()


app = Timed(
    broker_address=os.environ["PLAYLAKE_KAFKA_BOOTSTRAP"],
    consumer_group=f"quix-{time.time_ns()}",
    auto_offset_reset="earliest",
    auto_create_topics=False,
    consumer_extra_config={"session.timeout.ms": 6000},
    loglevel="WARNING",
)
sink = Sink(
    bucket=os.environ["PLAYLAKE_S3_BUCKET"],
    aws_access_key_id=os.environ["PLAYLAKE_S3_ACCESS_KEY"],
    aws_secret_access_key=os.environ["PLAYLAKE_S3_SECRET_KEY"],
    endpoint_url=os.environ["PLAYLAKE_S3_ENDPOINT"],
    region_name=os.environ["PLAYLAKE_S3_REGION"],
    directory="quix",
    format=ParquetFormat(compression="zstd"),
)
app.dataframe(app.topic("user_plays", value_deserializer="json")).sink(sink)
app.run(count=count)
said = {"rows": rows, "work_s": times["ended"] - times["began"]}
Path(os.environ["BENCH_OUT"]).write_text(json.dumps(said))
