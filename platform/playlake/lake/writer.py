"""The lake writer: Kafka to the bronze tables, exactly once. The shell around :mod:`playlake.lake.core`.

Exactly once because every commit to a Delta table carries the next offsets of the partitions it moves, and reading
starts at those. The order of one flush, told where it happens in :meth:`Writer._flush`:

1. take the batch and validate each message;
2. dead letters: only if they are where we left them, add the new ones with their positions;
3. bronze: only if it is where we left it, add the rows with the new positions (also when no row is left to add);
4. tell Kafka how far we are, as a hint for lag.

Dying between any two of these loses and doubles nothing: reading starts again at bronze's position, and the dead
letters written after it are known by their offsets. A commit that meets another's on the same partition fails, so a
writer that was frozen and replaced (a zombie) can't write: it drops what it holds and starts again at the table's
positions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from playlake import events, log
from playlake.broker import Admin, Consumer, TopicPartition
from playlake.lake import tables
from playlake.lake.core import Batch, Core, Limits, Partition, Position
from playlake.lake.schema import Decoded, bronze_rows, dead_letter_rows, decode
from playlake.lake.store import Store
from playlake.lake.tables import FencedError, Table, WriteFailedError, app_id
from playlake.settings import Settings

_log = log.get("lake")
_POLL_ROWS = 10_000
_POLL_SECONDS = 0.2
_STALL_SECONDS = 15.0
"""A partition that claims to have more but gives nothing for so long is taken to be at its end."""
GROUP = "playlake-lake"


@dataclass(slots=True)
class Landed:
    """What a run of the writer did."""

    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(events.TOPICS, 0))
    dead_letters: int = 0
    commits: int = 0
    fenced: int = 0
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """Events landed in bronze, all topics."""
        return sum(self.rows.values())


class Writer:
    """Lands the topics of playlake, as one member of a consumer group."""

    def __init__(
        self,
        settings: Settings,
        *,
        group: str = GROUP,
        on_progress: Callable[[Landed], None] | None = None,
        on_turn: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._group = group
        self._clock = clock
        self._on_progress = on_progress
        self._on_turn = on_turn
        self._core = Core(
            Limits(settings.flush_rows, settings.catchup_rows, settings.flush_bytes, settings.flush_seconds)
        )
        self._bronze = {topic: tables.bronze(settings, topic) for topic in events.TOPICS}
        self._dead = tables.dead_letters(settings)
        self._ids: dict[str, str] = {}
        self._stop = False
        self._failures = 0
        self._patience: int | None = None
        self.landed = Landed()

    def stop(self) -> None:
        """End the run after what is buffered has been written; safe in a signal handler."""
        self._stop = True

    def run(self, *, for_s: float | None = None, until_idle: bool = False, idle_s: float = 1.0) -> Landed:
        """Land until stopped, for ``for_s`` seconds, or until every partition was read to its end.

        :raises UnavailableError: when broker or store is down at the start, or for longer than their time limit.
        """
        started = self._clock()
        self._patience = 4 if for_s is not None or until_idle else None
        self._prepare()
        consumer = Consumer(
            self._settings,
            events.TOPICS,
            group=self._group,
            on_assign=self._assigned,
            on_revoke=self._revoked,
        )
        idle_since: float | None = None
        news = started
        poll_rows = min(_POLL_ROWS, self._settings.catchup_rows)  # one poll must not overfill a flush
        try:
            while not self._stop:
                if self._on_turn:
                    self._on_turn()
                now = self._clock()
                if for_s is not None and now - started >= for_s:
                    break
                polled = consumer.poll(poll_rows, _POLL_SECONDS)
                now = self._clock()
                if polled.records or polled.ends or not self._core.assigned:
                    news = now
                if polled.records:
                    self._core.mark_behind(polled.records)
                    self._core.add(polled.records, now)
                self._core.reached_end(polled.ends.items())
                for topic in self._core.due(now):
                    self._flush(topic, consumer)
                stalled = now - news > _STALL_SECONDS and not consumer.down_for()
                if until_idle and not self._core.due(now) and (self._all_at_end(polled.records) or stalled):
                    self._flush_all(consumer)
                    idle_since = idle_since or now
                    if now - idle_since >= idle_s:
                        if stalled:
                            self._check_stalled(consumer)
                        break
                else:
                    idle_since = None
                if consumer.down_for() > (30.0 if for_s is not None or until_idle else 600.0):
                    raise consumer.unavailable()
            self._flush_all(consumer)
        finally:
            consumer.close()
            if self._core.stale:
                _log.warning("messages dropped: the lake has their offsets already", count=self._core.stale)
            self.landed.seconds = self._clock() - started
        return self.landed

    def _prepare(self) -> None:
        store = Store(self._settings)
        store.ensure_bucket()
        store.check_conditional_put()
        with Admin(self._settings) as admin:
            self._ids = {name: info.topic_id for name, info in admin.ensure(events.TOPICS).items()}
        for table in [*self._bronze.values(), self._dead]:
            table.open()

    def _all_at_end(self, records: Iterable[object]) -> bool:
        return bool(self._core.assigned) and not records and self._core.at_end()

    def _check_stalled(self, consumer: Consumer) -> None:
        """Nothing more comes, though not every end was told: is it all landed, or is a part of the log unreadable?"""
        behind = sorted(TopicPartition(*p) for p in self._core.behind)
        if silent := [tp for tp in behind if consumer.claimed_end(tp) is None]:
            raise consumer.silent(silent)
        if behind:
            _log.warning("the broker claims messages that it does not give; landed what there is")

    # -- partitions ------------------------------------------------------------------------------------------------

    def _assigned(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        starts = self._core.assign(self._positions(partitions))
        _log.info("partitions assigned", partitions=len(partitions))
        return {TopicPartition(*p): offset for p, offset in starts.items()}

    def _revoked(self, partitions: list[TopicPartition]) -> None:
        # What is buffered is dropped, not rushed out: the next owner reads it again from the lake's position.
        self._core.forget(partitions)

    def _positions(self, partitions: Iterable[Partition]) -> dict[Partition, Position]:
        wanted = list(partitions)
        # Bronze is read first: dead letters are written before it, so what is then seen of them is never too old.
        for table in [*{t: self._bronze[t] for t, _ in wanted}.values(), self._dead]:
            table.refresh()
        found = {}
        for topic, number in wanted:
            app = app_id(topic, self._ids[topic], number)
            bronze = self._bronze[topic].position(app) or 0
            dead = self._dead.position(app)
            ahead = dead is not None and dead > bronze
            known = self._dead.offsets_from(self._ids[topic], number, bronze) if ahead else frozenset()
            found[topic, number] = Position(bronze, dead, known)
        return found

    # -- flushing --------------------------------------------------------------------------------------------------

    def _flush_all(self, consumer: Consumer) -> None:
        for topic in self._core.waiting():
            self._flush(topic, consumer)

    def _flush(self, topic: str, consumer: Consumer) -> None:
        batch = self._core.take(topic)
        decoded = decode(topic, batch.messages)  # 1
        try:
            buried = self._bury(batch, decoded)  # 2
            self._land(batch, decoded)  # 3
        except FencedError as error:
            self.landed.fenced += 1
            _log.warning("another writer was here; starting again at the lake's positions", topic=topic, why=str(error))
            self._restart(topic, consumer)
            return
        except WriteFailedError as error:
            # Whether the commit happened is unknown: drop everything, the table says where to go on.
            self._after_failure(topic, consumer, error)
            return
        self._failures = 0
        self._core.done(batch, buried)
        consumer.commit_hint({TopicPartition(topic, p): offset for p, offset in batch.following.items()})  # 4
        if self._on_progress:
            self._on_progress(self.landed)

    def _bury(self, batch: Batch, decoded: Decoded) -> dict[int, int]:
        dead = batch.to_bury(decoded.dead)
        if not dead:
            return {}
        moved = batch.burial_positions(dead)
        self._append(
            self._dead,
            batch.topic,
            dead_letter_rows(dead, self._ids.__getitem__),
            {p: batch.expected[p].dead_letters for p in moved},
            moved,
        )
        self.landed.dead_letters += len(dead)
        _log.warning("dead letters", topic=batch.topic, count=len(dead), first_reason=dead[0].reason[:200])
        return moved

    def _land(self, batch: Batch, decoded: Decoded) -> None:
        good = Decoded(good=[(m, e) for m, e in decoded.good if not batch.already_dead(m)])
        expected = {p: batch.expected[p].bronze or None for p in batch.following}
        rows = bronze_rows(batch.topic, good, self._ids.__getitem__)
        self._append(self._bronze[batch.topic], batch.topic, rows, expected, batch.following)
        self.landed.rows[batch.topic] += rows.num_rows
        self.landed.commits += 1

    def _append(
        self, table: Table, topic: str, rows: object, expected: dict[int, int | None], following: dict[int, int]
    ) -> None:
        apps = {p: app_id(topic, self._ids[topic], p) for p in following}
        table.append(rows, {apps[p]: v for p, v in expected.items()}, {apps[p]: v for p, v in following.items()})

    def _after_failure(self, topic: str, consumer: Consumer, error: WriteFailedError) -> None:
        """Wait and start again at the lake's positions; give up after ``_patience`` failures in a row."""
        while True:
            self._failures += 1
            if self._stop or (self._patience is not None and self._failures > self._patience):
                self._core.forget(self._core.assigned)
                raise error
            pause = min(2.0**self._failures / 4, 30.0)
            _log.warning("the lake could not be written; trying again", topic=topic, seconds=pause, why=str(error))
            self._rest(pause)
            try:
                return self._restart(topic, consumer)
            except WriteFailedError as again:
                error = again

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stop and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))  # a signal does not end a sleep

    def _restart(self, topic: str, consumer: Consumer) -> None:
        mine = [p for p in self._core.assigned if p[0] == topic]
        starts = self._core.assign(self._positions(mine))
        consumer.seek({TopicPartition(*p): offset for p, offset in starts.items()})
