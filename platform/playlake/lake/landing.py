"""The writer's work on the lake: preparing it, finding positions, flushing. Everything here may block.

:class:`Landing` is used by one thread at a time: while the writer polls, never by the one that polls Kafka, but for
:meth:`Landing.read_ahead`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import perf_counter
from typing import NamedTuple

import pyarrow as pa

from playlake import events, log
from playlake.broker import Admin
from playlake.errors import PlaylakeError, UnavailableError
from playlake.lake import tables
from playlake.lake.core import Batch, Partition, Position
from playlake.lake.decode import Decoded, Decoder
from playlake.lake.deliver import app_id, deliver, locate, pass_gap, record_gap
from playlake.lake.schema import BRONZE, bronze_rows, dead_letter_rows, log_gap_row
from playlake.lake.store import Store
from playlake.lake.table import Table
from playlake.records import Run
from playlake.settings import Settings

_log = log.get("lake")
_WORTH_A_CALL = 500
"""Messages from which on a run is decoded by itself: what comes one by one is decoded when it is flushed."""


class TopicMadeAnewError(Exception):
    """The topic is not the one whose messages we hold: they may be of either."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"the topic {topic} was made anew")
        self.topic = topic


class Nowhere(NamedTuple):
    """An offset that was to be read and that the log has not got, and the first that it has."""

    asked: int
    begins: int


class LogBehindLakeError(PlaylakeError):
    """The log has not got what the lake has already landed of it."""


@dataclass(frozen=True, slots=True)
class Flushed:
    """What one flush did, and where its time went, in seconds."""

    rows: int
    dead_letters: int
    first_reason: str
    buried: dict[int, int]
    bytes: int
    """Of Parquet files, those of dead letters too."""
    dead_letter_bytes: int
    """Of those files."""
    decode_s: float
    write_s: float
    commit_s: float
    """Of ``write_s``, what the commits took."""


class Landing:
    """The tables of the lake and the identity of the topics."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = Store(settings)
        self._bronze = {topic: tables.bronze(settings, topic, self._store) for topic in events.TOPICS}
        self._dead = tables.dead_letters(settings, self._store)
        self._gaps = tables.log_gaps(settings, self._store)
        self._decoders = {topic: Decoder(topic) for topic in events.TOPICS}
        self._columns: dict[str, dict[str, pa.DataType]] = {topic: {} for topic in events.TOPICS}
        self._decoding = ThreadPoolExecutor(1, "decoding")
        self._ids: dict[str, str] = {}
        self._admin: Admin | None = None

    def prepare(self) -> None:
        """Make what is missing: bucket, topics, tables.

        :raises PlaylakeError: also where the store can't be trusted with two writers.
        """
        self._store.ensure_bucket()
        self._store.check_conditional_put()
        with Admin(self._settings) as admin:
            found = admin.ensure(events.TOPICS)
        self._ids = {name: info.topic_id for name, info in found.items()}
        for table in [*self._bronze.values(), self._dead]:
            table.open()
        for topic, table in self._bronze.items():
            self._columns[topic] = table.added_columns
            numbers = range(found[topic].partitions)
            landed = any(table.position(app_id(topic, self._ids[topic], p)) is not None for p in numbers)
            if not (landed or table.is_empty()):
                _log.warning(
                    "nothing of this topic has landed, but of one that had its name: it was made anew, or this is"
                    " another broker. Its offsets start over; what landed before stays",
                    topic=topic,
                    topic_id=self._ids[topic],
                )

    def read_ahead(self, runs: list[Run]) -> list[Run]:
        """The same runs; large ones are decoded while they wait to be flushed. The one call for the polling thread."""

        def begun(run: Run) -> Run:
            if len(run) < _WORTH_A_CALL:
                return run
            columns = self._columns[run.topic]
            return replace(run, ahead=self._decoding.submit(self._decoders[run.topic].ahead, run, columns))

        return [begun(run) for run in runs]

    def close(self) -> None:
        """Let go of the broker, and of what is decoded ahead."""
        self._decoding.shutdown(cancel_futures=True)
        self._let_go()

    def _let_go(self) -> None:
        if self._admin is not None:
            self._admin.__exit__(None, None, None)
            self._admin = None

    def check(self, topics: Iterable[str] = events.TOPICS) -> None:
        """See that the topics are still those that we read.

        A topic's id never comes back (KIP-516), so what was read before this look is of the topic that has it now.

        :raises TopicMadeAnewError: when one is not; positions must be found again.
        :raises UnavailableError: when the broker does not answer, or the topic is gone.
        """
        wanted = tuple(topics)
        try:
            self._admin = self._admin or Admin(self._settings)
            found = self._admin.topics(wanted)
        except UnavailableError:
            self._let_go()
            raise
        for topic in wanted:
            if topic not in found:
                raise UnavailableError(
                    f"The broker knows no topic {topic}: it was deleted, or the broker can't reach its own store (see"
                    " `playlake status`). What was landed of it stays; a writer that starts makes a topic that is gone."
                )
            if (now := found[topic].topic_id) != self._ids[topic]:
                before, self._ids[topic] = self._ids[topic], now
                _log.warning(
                    "the topic was made anew: its offsets start over; what landed before stays",
                    topic=topic,
                    former=before,
                    now=now,
                )
                raise TopicMadeAnewError(topic)

    def locate(
        self, partitions: Iterable[Partition], nowhere: Mapping[Partition, Nowhere]
    ) -> dict[Partition, Position]:
        """Where the lake has these partitions; what their log has no more is passed over, and said to be lost.

        :param nowhere: of partitions whose log did not have the offset to read.
        :raises FencedError: when another writer has been here.
        :raises LogBehindLakeError: when the log ends before what is landed already.
        :raises TopicMadeAnewError: when a topic is not the one that was read: all that is held of it is to be dropped,
            of its other partitions too.
        """
        wanted = list(partitions)
        self.check({topic for topic, _ in wanted})
        positions = self._locate(wanted)
        if gone := [p for p in wanted if p in nowhere]:
            for partition in gone:
                self._pass_gap(partition, positions[partition].bronze, nowhere[partition])
            positions |= self._locate(gone)
        return positions

    def landed(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The next offset in the lake of those that it has, whoever landed them; the broker is not asked.

        :raises WriteFailedError: when the store failed.
        """
        wanted = list(partitions)
        for topic in {topic for topic, _ in wanted}:
            self._bronze[topic].refresh()
        found = {(t, p): self._bronze[t].position(app_id(t, self._ids[t], p)) for t, p in wanted}
        return {partition: offset for partition, offset in found.items() if offset is not None}

    def _locate(self, partitions: list[Partition]) -> dict[Partition, Position]:
        none_dead = self._dead.schema.empty_table()
        found = locate(
            partitions, self._ids, self._bronze, self._dead, none_dead, lambda topic: BRONZE[topic].empty_table()
        )
        for topic, number in partitions:
            topic_id = self._ids[topic]
            lost = record_gap(
                (topic, number),
                topic_id,
                self._bronze[topic],
                self._gaps,
                lambda first, end: log_gap_row(topic, topic_id, number, first, end, datetime.now(UTC)),  # noqa: B023
            )
            if lost:
                _log.error(
                    "messages were deleted from Kafka before they were landed: they are lost. Raise the topic's"
                    " retention",
                    topic=topic,
                    partition=number,
                    up_to=found[topic, number].bronze - 1,
                    count=lost,
                )
        return found

    def _pass_gap(self, partition: Partition, position: int, found: Nowhere) -> None:
        topic, number = partition
        if found.begins <= position:
            if position != found.asked:
                return  # what was asked for is not what is read next: only if that is gone too is the log behind
            raise LogBehindLakeError(
                f"The log of {topic}/{number} ends before offset {position}, up to which the lake has landed it: the"
                " broker lost messages. New ones under known offsets would be passed over, so nothing more is landed."
                " Delete the topic and make it anew, so that its offsets start over (the lake keeps what it has). First"
                " copy out what was produced to it since, if you can't produce that again."
            )
        table = self._bronze[topic]
        pass_gap(partition, self._ids[topic], position, found.begins, table, BRONZE[topic].empty_table())

    def flush(self, batch: Batch) -> Flushed:
        """Write a batch.

        :raises FencedError: when another writer has been here.
        :raises TopicMadeAnewError: when the batch may be of a topic that is no more.
        :raises WriteFailedError, UnavailableError: when store or broker failed; whether it was written is for the
            tables to say.
        """
        table, topic_id = self._bronze[batch.topic], self._ids[batch.topic]
        started = perf_counter()
        before = _spent(table), _spent(self._dead)
        decoded = self._decoders[batch.topic].decode(_handed_out(batch.runs), table.added_columns)
        decoded_at = perf_counter()
        self.check((batch.topic,))
        if decoded.added:
            table.add_columns(decoded.added)
            _log.info("new columns", table=table.folder, columns={n: str(t) for n, t in decoded.added.items()})
        self._columns[batch.topic] = table.added_columns
        rows = bronze_rows(batch.topic, _without_dead(decoded, batch), topic_id)
        delivered = deliver(
            batch,
            topic_id,
            decoded.dead,
            table,
            self._dead,
            bronze_rows=lambda: rows,
            dead_rows=lambda dead: dead_letter_rows(batch.topic, dead, topic_id),
            no_rows=BRONZE[batch.topic].empty_table(),
        )
        pa.default_memory_pool().release_unused()  # a batch is a peak; between batches there may be a minute
        first = decoded.dead[0].reason[:200] if decoded.dead else ""
        (own, own_s), (of_dead, dead_s) = (
            (now[0] - then[0], now[1] - then[1])
            for now, then in zip((_spent(table), _spent(self._dead)), before, strict=True)
        )
        return Flushed(
            rows=len(rows),
            dead_letters=delivered.dead_letters,
            first_reason=first,
            buried=delivered.buried,
            bytes=own + of_dead,
            dead_letter_bytes=of_dead,
            decode_s=decoded_at - started,
            write_s=perf_counter() - decoded_at,
            commit_s=own_s + dead_s,
        )


def _handed_out(runs: list[Run]) -> Iterator[Run]:
    """Each run once: what has been decoded need not be held, since after a failure all is read again from Kafka."""
    runs.reverse()
    while runs:
        yield runs.pop()


def _spent(table: Table) -> tuple[int, float]:
    """Bytes written and seconds in commits so far."""
    return table.bytes_written, table.commit_seconds


def _without_dead(decoded: Decoded, batch: Batch) -> pa.Table:
    """The events that dead letters do not hold, from a run that judged otherwise and died half-way."""
    if not any(position.dead for position in batch.expected.values()):
        return decoded.rows
    places = zip(*(decoded.rows[f"_kafka_{of}"].to_pylist() for of in ("partition", "offset")), strict=True)
    return decoded.rows.filter([not batch.already_dead(partition, offset) for partition, offset in places])
