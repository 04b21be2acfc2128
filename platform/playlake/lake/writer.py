"""The lake writer: Kafka to the bronze tables, exactly once. The shell around :mod:`playlake.lake.core`.

One thread polls Kafka and keeps the membership of the group; one (:mod:`playlake.lake.landing`) uploads and commits,
one batch at a time, while the next is being read, and one decodes ahead. A store that is slow or away never keeps the
first from polling: when as much is buffered as a flush may take, partitions are paused. What makes it exactly once is
told in :mod:`playlake.lake.deliver`.

Whatever goes wrong with a batch, the answer is the same: its topic's partitions are dropped with all that is buffered
of them, the tables are asked for their positions, and reading goes on from there.

The module is long since polling, partitions and the work under way change one state, in one thread, turn by turn.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from playlake import events, failpoints, log
from playlake.broker import Consumer, Polled, TopicPartition
from playlake.errors import PlaylakeError, UnavailableError
from playlake.lake import owed
from playlake.lake.core import Batch, Core, Limits, Partition, Position
from playlake.lake.deliver import FencedError
from playlake.lake.idle import UntilIdle
from playlake.lake.landing import Flushed, Landing, Nowhere, TopicMadeAnewError
from playlake.lake.owed import Owed
from playlake.lake.table import WriteFailedError
from playlake.lake.watching import Landed, Watcher
from playlake.settings import Settings

_log = log.get("lake")
_POLL_ROWS = 10_000
_POLL_SECONDS = 0.2
_REBALANCE_SECONDS = 5.0
"""How long a rebalance waits for a flush, or for the positions of what it brought; others wait for us meanwhile."""
_DISSOLVE_SECONDS = 20.0
"""How long the group may take to give us a part, before it is formed anew; a session is 6 s."""
_JOIN_SECONDS = 150.0
"""The same, before a run that has an end gives up."""
_LOOK_SECONDS = 10.0
"""How often the topics' identity is looked at when nothing is flushed."""
_ASK_SECONDS = 1.0
"""How often, at the end, the tables are asked whether others have landed what was lost to them."""
_FENCED_SECONDS = 0.25
"""How long another writer is left to go on before its positions are looked at again."""
_PATIENCE = 4
"""Failures in a row after which a run that has an end gives up."""
_LAST_PATIENCE = 2
"""The same, of what is owed at the end: servers that are away must not keep it, as they may be ending too."""
_LAST_SECONDS = 3.0
"""How long a broker that is away keeps an end that owes something."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A piece of work on the lake that is under way, and what takes in its outcome if it is none of the failures."""

    future: Future[Any]
    ended: Callable[[Any], None]
    batch: Batch | None = None


@contextmanager
def _collecting_seldom() -> Iterator[None]:
    """Python looks for cycles after every few hundred objects; a poll makes ten thousand that have none."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _unlanded(error: PlaylakeError) -> PlaylakeError:
    """The error that ends a run, with what it means for what was read."""
    if isinstance(error, WriteFailedError):  # says so by itself
        return error
    return type(error)(f"{error} What was read and not landed is still in Kafka: start a writer again to land it.")


class Writer:
    """Lands the topics of playlake, as one member of a consumer group.

    :param group: another consumer group than that of the settings.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        group: str | None = None,
        on_progress: Callable[[Landed], None] | None = None,
        on_turn: Callable[[], None] | None = None,
        watcher: Watcher | None = None,
        landing: Landing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._group = group or settings.kafka_group
        self._clock = clock
        self._on_progress = on_progress or (lambda _landed: None)
        self._on_turn = on_turn or (lambda: None)
        self._watcher = watcher or Watcher()
        self._core = Core(
            Limits(settings.flush_rows, settings.catchup_rows, settings.flush_bytes, settings.flush_seconds)
        )
        self._landing = landing or Landing(settings)
        self._thread = ThreadPoolExecutor(1, "landing")
        self._job: _Job | None = None
        self._mine: set[Partition] = set()
        self._unplaced: set[Partition] = set()
        """Ours, and where the lake has them is not known yet."""
        self._nowhere: dict[Partition, Nowhere] = {}
        """Of the unplaced, those whose log had not got the offset to read."""
        self._lost: set[Partition] = set()
        """Ours till the group lost us; whose they are now, it will say."""
        self._owed = Owed(self._core)
        self._moved = False
        """Whether what is to be read is not what the consumer was told."""
        self._stop = self._at_once = False
        self._draining = False
        self._left = False
        self._failures = 0
        self._patient = True
        self._again_at = 0.0
        self._looked_at = self._asked_at = 0.0
        self._dissolved_at = 0.0
        self.landed = Landed()

    def stop(self, *, at_once: bool = False) -> None:
        """End the run after what is buffered has been written; safe in a signal handler of the main thread.

        :raises KeyboardInterrupt: where it is to end at once, as by kill -9: the store may let a request wait long.
        """
        self._stop, self._at_once = True, self._at_once or at_once
        if at_once:
            raise KeyboardInterrupt

    def run(self, *, for_s: float | None = None, until_idle: bool = False, idle_s: float = 0.5) -> Landed:
        """Land until stopped, for ``for_s`` seconds, or until every partition was read to its end.

        :raises UnavailableError: when broker or store is down at the start, or for longer than their time limit.
        """
        started = self._clock()
        self._patient = for_s is None and not until_idle
        with _collecting_seldom():
            self._run(started + for_s if for_s is not None else None, idle_s if until_idle else None)
        self.landed.seconds = self._clock() - started
        return self.landed

    def _run(self, until: float | None, idle_s: float | None) -> None:
        if self._stop:
            return
        self._landing.prepare()
        consumer = Consumer(
            self._settings,
            events.TOPICS,
            group=self._group,
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._lose,
        )
        try:
            self._loop(consumer, until, idle_s)
            self._finish(consumer)
        finally:
            self._left = True  # closing the consumer may still tell of a rebalance
            if not self._at_once:
                self._thread.shutdown()  # a commit under way ends by itself, and its retries too
                consumer.close()
                self._landing.close()

    def _loop(self, consumer: Consumer, until: float | None, idle_s: float | None) -> None:
        poll_rows = min(_POLL_ROWS, self._settings.catchup_rows)  # one poll must not overfill a flush
        idle = UntilIdle(self._clock(), idle_s) if idle_s is not None else None
        asked = False
        while True:
            now = self._clock()
            if until is not None and now >= until:
                self._stop = True
            if self._stop and not self._may_catch_up(now):
                return
            self._turn(consumer, now)
            polled = consumer.poll(poll_rows, _POLL_SECONDS)
            now = self._clock()
            self._take_in(consumer, polled, now)
            waiting = self._wait_for_broker(consumer, now)
            if idle and idle.turn(
                now,
                read=bool(polled.runs),
                told=waiting or bool(polled.ends or self._unplaced),
                working=self._at_work(),
                buffered=bool(self._core.buffered),
                at_end=self._at_end(consumer),
            ):
                if idle.stalled and not asked:
                    self._see_that_it_works(consumer)
                    asked = True
                    idle.go_on(self._clock())
                    continue
                self._check_end(consumer, idle)
                return
            asked = asked and not polled.runs
            self._draining = self._stop or (idle is not None and idle.drain)

    def _wait_for_broker(self, consumer: Consumer, now: float) -> bool:
        """Whether there is no broker, or the group has no part for us yet; raises when either has been so for long."""
        down, joining = consumer.down_for(), consumer.joining_for()
        if down > (600.0 if self._patient else 30.0):
            raise consumer.unavailable()
        if down > _LAST_SECONDS and self._stop and self._owed:
            raise _unlanded(consumer.unavailable())
        if joining > _JOIN_SECONDS and not self._patient and not down:
            raise consumer.left_out()
        if joining > _DISSOLVE_SECONDS and not down and now - self._dissolved_at > _DISSOLVE_SECONDS:
            self._dissolved_at = now
            anew = consumer.dissolve()
            _log.warning("the consumer group gives this writer no part", seconds=round(joining), formed_anew=anew)
        return bool(down or joining)

    def _turn(self, consumer: Consumer, now: float) -> None:
        self._on_turn()
        self._watcher.turn(self._core, self._mine | self._lost, consumer.claimed_end, now)
        if self._core.full() and self._job:
            wait([self._job.future], _POLL_SECONDS)
        self._reap(consumer)
        self._start(now)
        if self._moved:
            self._moved = False
            consumer.read_on({TopicPartition(*p): offset for p, offset in self._core.reading().items()})
        if self._core.full() and self._job:
            consumer.hold()
        else:
            consumer.go_on()

    def _take_in(self, consumer: Consumer, polled: Polled, now: float) -> None:
        if polled.runs:
            failpoints.hit("after-poll")
            self._watcher.polled(polled)
            self._core.mark_behind((run.topic, run.partition) for run in polled.runs)
            self._core.add(self._landing.read_ahead(polled.runs), now)
        self._core.reached_end(polled.ends.items())
        for tp in polled.nowhere:
            asked = self._core.reading().get(tp, 0)
            self._displace({(tp.topic, tp.partition)})
            try:
                self._nowhere[tp] = Nowhere(asked, consumer.beginning(tp))
            except UnavailableError as error:  # read from where the lake has it, it comes here again
                _log.warning("the broker does not say where a log begins", topic=tp.topic, why=error.what)

    def _at_end(self, consumer: Consumer) -> bool:
        if not self._mine:  # there are more writers than partitions, and the others land what there is
            return not consumer.joining_for()
        return not self._unplaced and self._core.at_end()

    def _at_work(self) -> bool:
        """Whether anything is under way that may bring news; a look at the topics does not."""
        return self._job is not None and self._job.ended != self._looked

    def _see_that_it_works(self, consumer: Consumer) -> None:
        """A broker that gives nothing and says where its partitions begin has nothing; one that stands still has."""
        if self._mine and not consumer.at_work(sorted(TopicPartition(*p) for p in self._core.behind)):
            raise consumer.unavailable()

    def _check_end(self, consumer: Consumer, idle: UntilIdle) -> None:
        """If nothing more comes, though not every end was told: is it all landed, or is a part of it unreadable?"""
        if not self._mine:
            _log.warning("other writers have every partition; they land what there is")
        if not idle.stalled:
            return
        behind = sorted(TopicPartition(*p) for p in self._core.behind)
        if silent := [tp for tp in behind if consumer.claimed_end(tp) is None]:
            raise consumer.silent(silent)
        if behind:
            _log.warning("the broker claims messages that it does not give; landed what there is")

    def _may_catch_up(self, now: float) -> bool:
        """Whether to go on though the run is to end: what was dropped is read once more, and landed with the rest."""
        if self._owed.end(now):
            self._again_at, self._failures = 0.0, 0
        return bool(self._owed) and not self._owed.late(now)

    def _finish(self, consumer: Consumer) -> None:
        """Write what is buffered. What can't be written now is still in Kafka, and an error says so."""
        self._draining, self._patient, self._stop = True, False, True
        self._on_turn()
        self._write_out(consumer)
        if self._owed:  # another writer was at the last of it
            self._loop(consumer, None, None)
            self._write_out(consumer)
        if self._owed:
            raise WriteFailedError(
                "Some of what was read could not be written at the first try, and not be read once more in the"
                f" {owed.SECONDS:.0f} s that an end may take: it is still in Kafka. Start a writer again to land it."
            )

    def _write_out(self, consumer: Consumer) -> None:
        while self._job or self._core.waiting():
            self._on_turn()
            if self._job:
                wait([self._job.future], _POLL_SECONDS)
            else:
                time.sleep(0.05)  # after a failure there is a pause
            self._reap(consumer)
            self._start(self._clock(), locate=False)  # nothing is read any more; looking again and again has no end

    # -- partitions ------------------------------------------------------------------------------------------------

    def _assigned(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        self.landed.assignments += 1
        self._mine.update(partitions)
        self._unplaced.update(partitions)
        self._owed.forget(self._lost - self._mine)
        self._lost.clear()
        _log.info("partitions assigned", partitions=len(partitions))
        until = time.monotonic() + _REBALANCE_SECONDS
        self._await_job(until)  # one of before
        self._start(self._clock())
        self._await_job(until)
        self._moved = False
        return {TopicPartition(*p): offset for p, offset in self._core.reading().items()}

    def _revoked(self, partitions: list[TopicPartition]) -> None:
        self._await_batch_of(partitions)
        self._owed.forget(partitions)
        self._give_up(set(partitions))

    def _lose(self, partitions: list[TopicPartition]) -> None:
        self._await_batch_of(partitions)
        self._owed.note(partitions)  # another may have them, or nobody where the broker is away
        for topic in {topic for topic, _ in partitions} & self._core.since().keys():
            self._watcher.failed(topic, "lost")
        self._lost |= set(partitions)
        self._give_up(set(partitions))

    def _await_batch_of(self, partitions: list[TopicPartition]) -> None:
        failpoints.hit("in-revoke")
        # What is being written may end in time, and need not be read again by the next owner. What is only buffered is
        # dropped; so is the outcome of a flush that takes longer: where it got to is for the tables to say.
        batch = self._job.batch if self._job else None
        if batch is not None and any((batch.topic, p) in partitions for p in batch.following):
            self._await_job(time.monotonic() + _REBALANCE_SECONDS)

    def _give_up(self, gone: set[Partition]) -> None:
        self._core.forget(gone)
        self._mine -= gone
        self._unplaced -= gone
        for partition in gone:
            self._nowhere.pop(partition, None)

    def _await_job(self, until: float) -> None:
        if self._job:
            wait([self._job.future], max(0.0, until - time.monotonic()))
            self._reap(None)

    def _displace(self, partitions: set[Partition]) -> None:
        """Drop these and what is buffered of them, and find out anew where the lake has them."""
        self._core.forget(partitions)
        self._unplaced |= partitions & self._mine
        self._moved = True

    # -- work on the lake, one piece at a time ---------------------------------------------------------------------

    def _start(self, now: float, *, locate: bool = True) -> None:
        """Begin the next piece, if none is under way.

        :param locate: whether to look up where the lake has partitions that are not placed; else only to flush.
        """
        if self._job or self._left or now < self._again_at:
            return
        if self._unplaced and locate:
            wanted = frozenset(self._unplaced)
            nowhere = {p: self._nowhere[p] for p in wanted if p in self._nowhere}
            self._job = _Job(self._thread.submit(self._landing.locate, wanted, nowhere), self._placed)
        elif topics := self._core.waiting() if self._draining else self._core.due(now):
            batch = self._core.take(topics[0])
            self._job = _Job(self._thread.submit(self._landing.flush, batch), partial(self._flushed, batch), batch)
        elif self._stop and (lost := self._owed.upto.keys() & self._lost) and now - self._asked_at > _ASK_SECONDS:
            self._asked_at = now
            self._job = _Job(self._thread.submit(self._landing.landed, lost), self._owed.settle)
        elif now - self._looked_at > _LOOK_SECONDS:
            self._looked_at = now
            self._job = _Job(self._thread.submit(self._landing.check), self._looked)

    def _reap(self, consumer: Consumer | None) -> None:
        """Take in how a piece has ended."""
        if self._job is None or not self._job.future.done():
            return
        job, self._job = self._job, None
        topic = ""
        if job.batch is not None:
            topic = job.batch.topic
            self._core.ended(job.batch)
        touched = {p for p in self._mine if p[0] == topic}
        try:
            outcome = job.future.result()
        except FencedError as error:
            self.landed.fenced += 1
            self._watcher.failed(topic, "fenced")
            _log.warning("another writer was here; starting again at the lake's positions", topic=topic, why=str(error))
            self._owed.note(touched)  # it need not have landed all of this batch
            self._displace(touched)
            if job.batch is None:  # a look that is asked for again at once
                self._again_at = self._clock() + _FENCED_SECONDS
        except TopicMadeAnewError as error:
            self._watcher.failed(error.topic, "made_anew")
            self._nowhere.clear()  # of the topic that was; another's is found again
            anew = {p for p in self._mine if p[0] == error.topic}
            self._owed.forget(anew)
            self._displace(anew)
        except (WriteFailedError, UnavailableError) as error:
            # Whether a commit happened is unknown: drop everything, the table says where to go on.
            self._watcher.failed(topic, "failed")
            self._owed.note(touched)
            self._displace(touched)
            self._put_off(error)
        else:
            self._failures = 0
            job.ended(outcome)
            if job.batch is not None and consumer:
                following = job.batch.following
                consumer.commit_hint({TopicPartition(topic, p): offset for p, offset in following.items()})

    def _placed(self, positions: dict[Partition, Position]) -> None:
        found = {p: at for p, at in positions.items() if p in self._unplaced}
        self._core.assign(found)
        self._unplaced -= found.keys()
        for partition in positions:
            self._nowhere.pop(partition, None)
        self._moved = True
        self._owed.settle()

    def _flushed(self, batch: Batch, flushed: Flushed) -> None:
        self._core.done(batch, flushed.buried)
        self._owed.settle({(batch.topic, p): offset for p, offset in batch.following.items()})
        self.landed.rows[batch.topic] += flushed.rows
        self.landed.dead_letters += flushed.dead_letters
        self.landed.flushes += 1
        self._looked_at = self._clock()
        if flushed.dead_letters:
            count, reason = flushed.dead_letters, flushed.first_reason
            _log.warning("dead letters", topic=batch.topic, count=count, first_reason=reason)
        self._watcher.flushed(batch, flushed)
        self._on_progress(self.landed)

    def _looked(self, _outcome: None) -> None:
        """The topics are those that they were."""

    def _put_off(self, error: PlaylakeError) -> None:
        """Try again later; a run that has an end gives up after some failures in a row."""
        self._failures += 1
        now = self._clock()
        if self._stop:
            late = self._owed.late(now) or self._failures > _LAST_PATIENCE
            if late and (self._owed or self._core.waiting()):
                raise _unlanded(error) from error
        elif not self._patient and self._failures > _PATIENCE:
            raise error
        pause = min(2.0**self._failures / 4, 30.0)
        self._again_at = now + pause
        _log.warning("nothing can be landed now; trying again", seconds=pause, why=error.what)
