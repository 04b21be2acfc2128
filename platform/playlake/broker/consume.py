"""Consuming for the lake writer: start offsets are the caller's, never Kafka's committed ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import confluent_kafka as ck

from playlake import log
from playlake.broker import config
from playlake.broker.admin import Admin, answers
from playlake.broker.client import TopicPartition, at_work, claimed_end, client, log_starts, no_data, take
from playlake.broker.membership import Member, forget_the_last_leader, leave_for_the_dead
from playlake.broker.patience import PATIENT_MS, Watch
from playlake.broker.polled import Polled, runs
from playlake.errors import UnavailableError
from playlake.settings import Settings

_log = log.get("broker")

_GROUP_SECONDS = 20.0
"""A member that was killed is waited for as long as its session lasts, and then Tansu takes three seconds more."""
_LEAVE_SECONDS = 8.0
"""librdkafka gives the broker five for the word that one leaves."""
_GONE = (ck.KafkaError._ALL_BROKERS_DOWN, ck.KafkaError._TRANSPORT, ck.KafkaError._RESOLVE)


FETCHING = {
    # Of all partitions together. More is fetched than this by one answer, which has room for any one message.
    "queued.max.messages.kbytes": 8 * 1024,
    "fetch.max.bytes": 12 * 1024 * 1024,
    "fetch.message.max.bytes": 10 * 1024 * 1024,
    "fetch.queue.backoff.ms": 10,  # a queue that is full is so for a moment, not for the second that is usual
    "topic.metadata.refresh.interval.ms": 30_000,  # new partitions of a topic are found within that time
}


class Consumer:
    """A member of a consumer group whose start offsets are given by ``on_assign``.

    :param on_assign: gets the partitions assigned and returns the offset at which each is read on. A partition that it
        leaves out is ours and not read until :meth:`read_on` names it.
    :param on_revoke: gets the partitions taken away, while they still are ours.
    :param on_lost: gets those that are ours no more, as the group did not hear of us, or the broker does not answer.
    """

    def __init__(
        self,
        settings: Settings,
        topics: Iterable[str],
        *,
        group: str,
        on_assign: Callable[[list[TopicPartition]], Mapping[TopicPartition, int]],
        on_revoke: Callable[[list[TopicPartition]], None],
        on_lost: Callable[[list[TopicPartition]], None] | None = None,
    ) -> None:
        self._settings = settings
        self._topics = list(topics)
        self._group = group
        self._on_assign, self._on_revoke, self._on_lost = on_assign, on_revoke, on_lost or on_revoke
        if not answers(settings, settings.kafka_timeout_s):
            raise config.down(settings, "no connection")
        self._down_since: float | None = None
        self._reason = ""
        self._held: list[ck.TopicPartition] = []
        """What is paused."""
        self._woken_at = 0.0
        self._rebalances = 0
        self._starts: dict[TopicPartition, int] = {}
        self._nowhere: list[TopicPartition] = []
        self._patient, self._may_be_patient = False, settings.profile == "embedded"
        self._join()

    def _join(self) -> None:
        settings, group = self._settings, self._group
        self._joining_since: float | None = time.monotonic()
        self._watch = Watch()
        leave_for_the_dead(settings, group)
        forget_the_last_leader(settings, group)
        self._member = Member(settings, group)
        waits = {"fetch.wait.max.ms": PATIENT_MS} if self._patient else {}
        # A position that the log has not got is told, not put right in silence: what is missing was deleted or lost.
        how = {"auto.offset.reset": "error", **FETCHING, **waits}
        self._client = client(settings, group, self._on_error, **how)

        def assigned(client: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
            self._joining_since = None
            self._rebalances += 1
            self._member.is_now(client.memberid())
            self.read_on(self._on_assign([TopicPartition(p.topic, p.partition) for p in partitions]))

        def gone(tell: Callable[[list[TopicPartition]], None], partitions: list[ck.TopicPartition]) -> None:
            self._joining_since = time.monotonic()
            self._rebalances += 1
            self._nowhere = []
            tell([TopicPartition(p.topic, p.partition) for p in partitions])

        def revoked(client: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
            gone(self._on_revoke, partitions)

        def lost(client: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
            gone(self._on_lost, partitions)

        self._client.subscribe(self._topics, on_assign=assigned, on_revoke=revoked, on_lost=lost)

    def poll(self, most: int, timeout_s: float) -> Polled:
        """Take up to ``most`` messages, waiting ``timeout_s`` at the longest."""
        polled = Polled()
        polled.nowhere, self._nowhere = self._nowhere, []
        self._wake()
        messages = take(self._client, most, timeout_s, lambda: self._rebalances)
        good = [m for m in messages if m.error() is None]
        if len(good) < len(messages):
            for message in messages:
                if (error := message.error()) is not None:
                    self._note(message, error, polled)
        if good:
            polled.runs.extend(runs(good))
        if polled.runs or polled.ends:
            self._down_since = None
        if self._held or self._joining_since is not None or self._down_since is not None:
            self._watch = Watch()
        elif self._may_be_patient and self._watch.starved(self._client, self._starts, len(good)):
            self._be_patient()
            return Polled()  # what came was of partitions that were just given back: it is read again
        return polled

    def _begin_later(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Those of which a lake that has nothing is too late for the beginning, which Tansu does not say to a fetch.

        Asked on a connection of its own: on one where a fetch hangs, all that is asked after it waits.
        """
        if self._settings.profile != "embedded" or not partitions:
            return []
        try:
            starts = log_starts(self._settings, partitions, timeout_s=3.0)
        except UnavailableError:
            return []
        return [tp for tp in partitions if starts[tp] > 0]

    def _be_patient(self) -> None:
        """Join again as one that lets a fetch take longer; a client's settings can't be changed."""
        _log.info("the broker gives nothing of what it claims to have; its fetches may take longer now", ms=PATIENT_MS)
        self._patient, self._may_be_patient = True, False
        self.close()
        self._join()

    def _wake(self) -> None:
        """Ask librdkafka's own thread who we are: it too waits until a time of day, and keeps the membership."""
        if time.monotonic() - self._woken_at > 1.0:
            self._woken_at = time.monotonic()
            self._member.is_now(self._client.memberid())

    def _note(self, message: ck.Message, error: ck.KafkaError, polled: Polled) -> None:
        tp = TopicPartition(message.topic(), message.partition())
        if error.code() == ck.KafkaError._PARTITION_EOF:
            polled.ends[tp] = message.offset()
        elif error.code() == ck.KafkaError._AUTO_OFFSET_RESET:
            polled.nowhere.append(tp)
        else:
            self._on_error(error)

    def down_for(self) -> float:
        """Seconds since the broker went silent; 0 while it answers."""
        if self._down_since is None:
            return 0.0
        if answers(self._settings, 1.0):
            self._down_since = None
            return 0.0
        return time.monotonic() - self._down_since

    def unavailable(self) -> UnavailableError:
        """The error to raise when :meth:`down_for` has become too long."""
        return config.down(self._settings, self._reason or "no answer")

    def joining_for(self) -> float:
        """Seconds since the group is being joined, at the start or in a rebalance; 0 for a member that has its part."""
        return time.monotonic() - self._joining_since if self._joining_since is not None else 0.0

    def dissolve(self) -> bool:
        """Delete the group, for one that waits for a member that is gone; whoever is in it joins again.

        Tansu 0.6 can wait for ever for a leader that was killed or left while the group formed. Kafka deletes no group
        that has members, and needs no such help. What goes with it are the offset hints.

        :returns: whether it was deleted.
        """
        try:
            with Admin(self._settings) as admin:
                refused = admin.delete_group(self._group)
        except UnavailableError as error:
            refused = str(error)
        if refused:
            _log.debug("the group was not deleted", why=refused)
        return not refused

    def left_out(self) -> UnavailableError:
        """The error to raise when :meth:`joining_for` has become too long."""
        return UnavailableError(
            f"The broker at {config.bootstrap(self._settings)} gives this writer no part in its consumer group: "
            "another member joined and neither goes on nor leaves. Nothing is lost; run this again."
        )

    def claimed_end(self, tp: TopicPartition) -> int | None:
        """The end of an assigned partition as the broker last told it; None while it has told nothing."""
        return claimed_end(self._client, tp)

    def silent(self, partitions: Sequence[TopicPartition]) -> UnavailableError:
        """The error to raise when the broker never told anything of these partitions."""
        return config.down(self._settings, no_data(partitions))

    def at_work(self, partitions: Sequence[TopicPartition]) -> bool:
        """Whether the broker says where these begin and end, though it gives nothing of them."""
        return at_work(self._settings, partitions)

    def read_on(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Read these partitions, each from an offset on, and no other. What was fetched before is dropped."""
        self._nowhere = self._begin_later([tp for tp, offset in offsets.items() if offset == 0])
        self._starts = {tp: offset for tp, offset in offsets.items() if tp not in self._nowhere}
        self._watch = Watch()
        self.go_on()  # a partition stays paused through any number of assignments
        self._client.assign([ck.TopicPartition(tp[0], tp[1], offset) for tp, offset in self._starts.items()])

    def hold(self) -> None:
        """Read nothing for now, and stay a member: polling goes on."""
        if not self._held:
            self._held = self._client.assignment()
            self._client.pause(self._held)

    def go_on(self) -> None:
        """Read again all that was paused, also what is not ours any more."""
        if self._held:
            self._client.resume(self._held)
            self._held = []

    def beginning(self, tp: TopicPartition, timeout_s: float = 10.0) -> int:
        """The first offset that the log of a partition still has.

        :raises UnavailableError: when the broker does not answer.
        """
        try:
            found = self._client.get_watermark_offsets(ck.TopicPartition(*tp), timeout=timeout_s, cached=False)
        except ck.KafkaException as error:
            raise config.down(self._settings, error) from error
        if found is None:
            raise config.down(self._settings, no_data([tp]))
        return int(found[0])

    def commit_hint(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Tell Kafka how far the lake is. A hint for lag only: a failure here changes nothing."""
        if not offsets:
            return
        try:
            self._client.commit(
                offsets=[ck.TopicPartition(tp.topic, tp.partition, o) for tp, o in offsets.items()], asynchronous=True
            )
        except ck.KafkaException as error:
            _log.debug("offset hint refused", error=str(error))

    def close(self) -> None:
        """Leave the group; one that is joining joins first.

        Tansu 0.6 waits for ever for a leader that leaves before its group has formed, and lets nobody else in.
        """
        while 0 < self.joining_for() < _GROUP_SECONDS and self._down_since is None:
            self._wake()
            take(self._client, 1, 0.1)
        # It waits for the answer to each request under way, whatever it takes, and has no time limit of its own.
        client, member = self._client, self._member  # it may end when there are others, after `_be_patient`

        def leave() -> None:
            client.close()
            member.left()

        leaving = threading.Thread(target=leave, name="leaving", daemon=True)
        leaving.start()
        leaving.join(_LEAVE_SECONDS)
        if leaving.is_alive():
            _log.warning("the broker does not answer who leaves; the group finds out by itself, or by the next writer")
        self._joining_since = None  # closing tells that what we had was revoked

    def _on_error(self, error: ck.KafkaError) -> None:
        # librdkafka's own words count connections: "0/2 brokers are down".
        every = error.code() == ck.KafkaError._ALL_BROKERS_DOWN
        self._reason = "no connection to any broker" if every else error.str()
        if error.code() in _GONE:
            if self._down_since is None:
                self._down_since = time.monotonic()
                _log.warning("broker does not answer; still trying", error=self._reason)
        else:
            _log.warning("broker reports", error=self._reason)
