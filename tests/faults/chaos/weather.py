"""What goes wrong around the writers: servers, network, disk, clock, and compactors beside them. One thing at a time.

Each fault begins, lasts and ends; some then need `playlake up`. What is drawn and for how long is the seed's.
"""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient

from playlake.broker import config
from playlake.failpoints import VARIABLE
from tests.faults.chaos.clock import JUMPS_S, WallClock
from tests.faults.chaos.fleet import GROUP, ChaosError, Fleet, whole
from tests.faults.chaos.stacks import Stack
from tests.support.forks import Fork, Nursery
from tests.support.s3_proxy import Faults

COMPACTION = ("compact-before-commit", "compact-after-commit")
_ALARMS = ("not compacted", "is missing")
"""What a compactor says of a lake in which something is wrong; nothing is."""
WEIGHTS = {
    "S3 answers 500, 503, 429": 4,
    "S3 connections reset and torn": 4,
    "S3 replies lost": 4,
    "S3 commits' replies lost": 4,
    "S3 commits of which nobody learns": 4,
    "S3 stalls": 3,
    "S3 slow": 2,
    "broker connections cut": 3,
    "broker slow": 2,
    "broker killed": 2,
    "store killed": 2,
    "disk full": 1,
    "clock jumps": 3,
    "group offsets deleted": 2,
    "compactors": 5,
    "calm": 8,
}
"""How often each is drawn, beside the others."""

Fault = Callable[[], AbstractContextManager[None]]


class Weather:
    """The fault that is going on.

    :param stall_s: how long a request to S3 stalls.
    """

    def __init__(
        self,
        nursery: Nursery,
        stack: Stack,
        fleet: Fleet,
        clock: WallClock,
        folder: Path,
        rng: random.Random,
        stall_s: float,
        note: Callable[[str], None],
    ) -> None:
        self._nursery, self._stack, self._fleet, self._clock, self._folder = nursery, stack, fleet, clock, folder
        self._note = note
        self._rng, self._stall_s = rng, stall_s
        self._compactors: list[tuple[Fork, str, Path]] = []
        self._number = 0
        self.done: Counter[str] = Counter()
        self.compactors: Counter[str] = Counter()
        """Kills of compactors, by failpoint."""
        self.frozen: Counter[str] = Counter()
        """Compactors that were frozen, by failpoint, while others and the writers went on."""
        self._now = contextlib.ExitStack()
        self._thread = ThreadPoolExecutor(1, "weather")
        self._turn: Future[None] | None = None
        self._until = 0.0
        self._deck: list[str] = []

    def tick(self) -> None:
        """End what has lasted long enough, and begin the next. What takes time is done by another thread.

        :raises BaseException: what went wrong in it.
        """
        if self._turn and not self._turn.done():
            return
        if self._turn:
            self._turn.result()
        if time.monotonic() >= self._until:
            self._turn = self._thread.submit(self._change)

    def _change(self) -> None:
        self._end()
        name = self._drawn()
        self.done[name] += 1
        self._note(f"weather: {name}")
        self._now.enter_context(self._faults()[name]())
        self._until = time.monotonic() + self._rng.uniform(3, 7)

    def _end(self) -> None:
        now, self._now = self._now, contextlib.ExitStack()
        now.close()

    def clear(self) -> None:
        """End what is going on."""
        if self._turn:
            self._turn.result()
        self._turn = None
        self._end()
        self._until = 0.0

    def _drawn(self) -> str:
        """The next of a shuffled deck in which all are; each once before any comes again, so that a short run has seen
        as much as it can."""
        if not self._deck:
            once = [name for name in WEIGHTS if name != "disk full" or self._stack.can_fill_disk]
            again = [name for name in once for _ in range(WEIGHTS[name] - 1)]
            for part in (again, once):
                self._rng.shuffle(part)
                self._deck += part
        name = self._deck.pop()
        # Writers that are each in a group of their own have no group whose offsets could be deleted.
        return "calm" if name == "group offsets deleted" and self._fleet.apart else name

    def _faults(self) -> dict[str, Fault]:
        def s3(match: str = "", *, latency_s: float = 0.0, **shares: float) -> Fault:
            faults = Faults({k.lstrip("_"): v for k, v in shares.items()}, latency_s, self._stall_s, match=match)
            return lambda: self._s3(faults)

        return {
            "S3 answers 500, 503, 429": s3(_500=0.06, _503=0.06, _429=0.04),
            "S3 connections reset and torn": s3(reset=0.07, torn=0.07),
            "S3 replies lost": s3(lost=0.12),
            "S3 commits' replies lost": s3("^PUT .*/_delta_log/0", lost=0.5),
            "S3 commits of which nobody learns": s3("^PUT .*/_delta_log/0", unsure=0.3),
            "S3 stalls": s3(stall=0.05),
            "S3 slow": s3(latency_s=0.1),
            "broker connections cut": self._broker_cut,
            "broker slow": self._broker_slow,
            "broker killed": self._broker_killed,
            "store killed": self._store_killed,
            "disk full": self._disk_full,
            "clock jumps": self._clock_jumps,
            "group offsets deleted": self._offsets_deleted,
            "compactors": self._compacting,
            "calm": contextlib.nullcontext,
        }

    @contextmanager
    def _s3(self, faults: Faults) -> Iterator[None]:
        self._stack.store.faults = faults
        try:
            yield
        finally:
            self._stack.store.faults = Faults()

    @contextmanager
    def _broker_cut(self) -> Iterator[None]:
        broker = self._stack.broker
        broker.cut(refuse=True)
        time.sleep(self._rng.uniform(0.2, 3))
        broker.heal()
        yield
        broker.cut()

    @contextmanager
    def _broker_slow(self) -> Iterator[None]:
        self._stack.broker.delay_s = self._rng.uniform(0.05, 0.4)
        try:
            yield
        finally:
            self._stack.broker.delay_s = 0.0

    @contextmanager
    def _broker_killed(self) -> Iterator[None]:
        self._stack.kill_broker()
        time.sleep(self._rng.uniform(0, 2))
        self._stack.up()
        yield

    @contextmanager
    def _store_killed(self) -> Iterator[None]:
        self._stack.kill_store()
        time.sleep(self._rng.uniform(0, 2))
        self._stack.up()
        yield

    @contextmanager
    def _disk_full(self) -> Iterator[None]:
        self._stack.fill_disk()
        try:
            yield
        finally:
            self._stack.free_disk()
            # SeaweedFS writes to a volume again a minute after its disk has room, or when it is started anew.
            self._stack.kill_store()
            self._stack.up()

    @contextmanager
    def _clock_jumps(self) -> Iterator[None]:
        self._clock.shift(self._rng.choice(JUMPS_S))
        try:
            yield
        finally:
            self._clock.shift(0)

    @contextmanager
    def _offsets_deleted(self) -> Iterator[None]:
        """A group that nobody is in loses its offsets: all who are in it are killed before."""
        with self._fleet.without_members("before group offsets were deleted"):
            admin = AdminClient(config.librdkafka(self._stack.direct))
            until = time.monotonic() + 30
            while (error := _deleted(admin)) is not None:
                if time.monotonic() > until:  # its dead members are forgotten after the session's timeout
                    raise ChaosError(f"the group's offsets could not be deleted: {error}")
                time.sleep(0.5)
        yield

    # -- compactors ------------------------------------------------------------------------------------------------

    @contextmanager
    def _compacting(self) -> Iterator[None]:
        with contextlib.ExitStack() as around:
            if self._rng.random() < 0.5:
                around.enter_context(self._s3(Faults({"500": 0.04, "lost": 0.04, "reset": 0.04})))
            self._start_compactors()
            yield
            self._end_compactors(20)

    def _start_compactors(self) -> None:
        for _ in range(self._rng.choice((1, 2, 2))):
            how = self._rng.choice(("", "", *COMPACTION, *(f"{name}:1:stop" for name in COMPACTION)))
            self._number += 1
            log = self._folder / f"compactor-{self._number:04}.log"
            environment = {
                **self._nursery.env,
                **self._stack.environment(self._stack.through),
                **({VARIABLE: how} if how else {}),
            }
            process = self._nursery.start("lake", "compact", "--json", out=log, env=environment)
            self._compactors.append((process, how, log))

    def _end_compactors(self, patience_s: float) -> None:
        """Let those that are frozen go on, wait for all, kill who takes too long."""
        until = time.monotonic() + patience_s
        compactors, self._compactors = self._compactors, []
        for process, how, log in compactors:
            frozen = process.stopped
            process.send_signal(signal.SIGCONT)
            try:
                code = process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
                how = how if frozen else "any moment"
            said = whole(log)
            if code not in (0, 1, -signal.SIGKILL) or any(words in said for words in _ALARMS):
                raise ChaosError(f"{log}: exit code {code}\n{said[-3000:]}")
            self._note(f"{log.stem} has ended with {code}: {how}")
            if frozen:
                self.frozen[how.removesuffix(":1:stop")] += 1
            elif code == -signal.SIGKILL:
                self.compactors[how.removesuffix(":1:stop")] += 1

    def abandon(self) -> None:
        """End what is still going on in a run that has failed."""
        self._thread.shutdown(cancel_futures=True)
        with contextlib.suppress(Exception):
            self._end()
        for process, _, _ in self._compactors:
            process.kill()
            process.wait()
        self._compactors.clear()


def _deleted(admin: AdminClient) -> ck.KafkaException | None:
    """Why the group could not be deleted; None where there is none any more."""
    try:
        admin.delete_consumer_groups([GROUP], request_timeout=10)[GROUP].result()
    except ck.KafkaException as error:
        return None if error.args[0].code() == ck.KafkaError.GROUP_ID_NOT_FOUND else error
    return None
