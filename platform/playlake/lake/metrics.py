"""What the writer does, as Prometheus metrics on a port (names by https://prometheus.io/docs/practices/naming/)."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

from playlake import events
from playlake.broker import Polled, TopicPartition
from playlake.errors import UsageError
from playlake.lake.core import Batch, Core, Partition
from playlake.lake.landing import Flushed
from playlake.lake.watching import Watcher
from playlake.settings import PREFIX

_EVERY_SECONDS = 1.0
"""How often lag is looked at: a turn of the loop may take a hundredth of that."""
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_FAILURES = ("failed", "lost", "made_anew")
_STEPS = ("decode", "write")


class Metrics(Watcher):
    """The metrics of one writer, in a registry of its own.

    :param clock: the writer's own clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked_at = float("-inf")
        self._oldest: float | None = None
        self._since: dict[str, float] = {}
        self._dropped: dict[str, float] = {}
        """By topic, the age of rows that a failure made us drop: they will be read again, and are no younger then."""
        self._known: set[Partition] = set()
        self.registry = CollectorRegistry()
        disable_created_metrics()  # type: ignore[no-untyped-call] # a second series of each, which nobody asks for
        ProcessCollector(registry=self.registry)  # memory, CPU time, open files; on Linux

        def counter(name: str, help: str, *labels: str) -> Counter:
            return Counter(f"playlake_writer_{name}", help, labels or ("topic",), registry=self.registry)

        def histogram(name: str, help: str, *labels: str) -> Histogram:
            name = f"playlake_writer_{name}"
            return Histogram(name, help, labels, buckets=_BUCKETS, registry=self.registry)

        def gauge(name: str, help: str, *labels: str) -> Gauge:
            return Gauge(f"playlake_writer_{name}", help, labels, registry=self.registry)

        self._consumed = counter("consumed_messages", "Messages read from Kafka, those read again too.")
        self._consumed_bytes = counter("consumed_bytes", "Bytes of keys and values read from Kafka.")
        self._written = counter("written_rows", "Events committed to bronze.")
        self._written_bytes = counter("written_bytes", "Bytes of the Parquet files committed to bronze.")
        self._dead = counter("dead_letters", "Messages committed to dead letters.")
        self._dead_bytes = counter("dead_letter_bytes", "Bytes of the Parquet files committed to dead letters.")
        self._conflicts = counter("conflicts", "Flushes that met another writer's commit and were started anew.")
        self._failures = counter(
            "failures", "Flushes and looks at the lake that failed and were tried again, by kind.", "topic", "kind"
        )
        self._flush_s = histogram("flush_seconds", "Time of a committed flush, by step.", "topic", "step")
        self._commit_s = histogram("commit_seconds", "Time in the commits of a flush, a part of its writing.", "topic")
        self._lag = gauge(
            "lag_messages", "From the next offset in the lake to the end that Kafka claims.", "topic", "partition"
        )
        self._buffered = gauge("buffered_rows", "Rows read and in no batch yet.")
        self._buffered_bytes = gauge("buffered_bytes", "Bytes of keys and values read and in no batch yet.")
        self._last = gauge("last_flush_timestamp_seconds", "When the last flush was committed; 0: none yet.")
        age = gauge("oldest_unflushed_seconds", "Age of the oldest row that was read and is not committed; 0: none.")
        age.set_function(self._age)
        for topic in events.TOPICS:  # so that there is a 0 before the first
            for of_topic in (
                *(self._consumed, self._consumed_bytes, self._written, self._written_bytes, self._dead),
                *(self._dead_bytes, self._conflicts),
            ):
                of_topic.labels(topic)
            self._commit_s.labels(topic)
            for step in _STEPS:
                self._flush_s.labels(topic, step)
            for kind in _FAILURES:
                self._failures.labels(topic, kind)

    def serve(self, host: str, port: int) -> None:
        """Serve them over HTTP at any path until the process ends.

        :raises UsageError: when the port is taken, or the host none of this machine's.
        """
        try:
            start_http_server(port, host, self.registry)
        except OSError as error:
            what_to_do = (
                f"Is another writer running? Give each a {PREFIX}METRICS_PORT of its own; 0 is off."
                if error.errno in (errno.EADDRINUSE, errno.EACCES)
                else f"{PREFIX}HOST must be an address of this machine; 127.0.0.1 unless set."
            )
            raise UsageError(
                f"The metrics can't be served on {host}:{port} ({error.strerror or error}). {what_to_do}"
            ) from error

    def polled(self, polled: Polled) -> None:
        """Count what was read."""
        for run in polled.runs:
            self._consumed.labels(run.topic).inc(len(run))
            self._consumed_bytes.labels(run.topic).inc(run.bytes)

    def flushed(self, batch: Batch, flushed: Flushed) -> None:
        """Count what was committed, and how long it took."""
        topic = batch.topic
        self._dropped.pop(topic, None)
        self._written.labels(topic).inc(flushed.rows)
        self._written_bytes.labels(topic).inc(flushed.bytes - flushed.dead_letter_bytes)
        self._dead.labels(topic).inc(flushed.dead_letters)
        self._dead_bytes.labels(topic).inc(flushed.dead_letter_bytes)
        for step, seconds in zip(_STEPS, (flushed.decode_s, flushed.write_s), strict=True):
            self._flush_s.labels(topic, step).observe(seconds)
        self._commit_s.labels(topic).observe(flushed.commit_s)
        self._last.set_to_current_time()

    def failed(self, topic: str, kind: str) -> None:
        """Count what was not committed; without a topic it was a look at where the lake is."""
        if kind == "fenced":
            self._conflicts.labels(topic).inc()
        else:
            self._failures.labels(topic, kind).inc()
        if kind in ("failed", "lost") and topic in self._since:
            self._dropped.setdefault(topic, self._since[topic])

    def turn(
        self, core: Core, mine: set[Partition], claimed_end: Callable[[TopicPartition], int | None], now: float
    ) -> None:
        """Look at how far the writer is behind."""
        since = core.since()
        placed = core.landed()
        unsure = core.behind | (mine - placed.keys())
        for topic in self._dropped.keys() - since.keys() - {topic for topic, _ in unsure}:
            del self._dropped[topic]  # all there is was read, and is committed: by us after all, or by another
        self._since = since
        self._oldest = min((*since.values(), *self._dropped.values()), default=None)
        if now - self._looked_at < _EVERY_SECONDS:
            return
        self._looked_at = now
        self._buffered.set(core.buffered)
        self._buffered_bytes.set(core.buffered_bytes)
        for topic, partition in self._known - mine:  # another member's now, who tells of it
            self._lag.remove(topic, str(partition))
        self._known &= mine
        for (topic, partition), offset in placed.items():  # of others that are ours the last that was known stays
            if (end := claimed_end(TopicPartition(topic, partition))) is not None:
                self._lag.labels(topic, str(partition)).set(max(0, end - offset))
                self._known.add((topic, partition))

    def _age(self) -> float:
        oldest = self._oldest
        return 0.0 if oldest is None else max(0.0, self._clock() - oldest)
