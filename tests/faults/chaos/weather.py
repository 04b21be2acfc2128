"""What goes wrong around the writers: servers, network, disk, clock, and compactors beside them. One thing at a time.

Each fault begins, lasts and ends; some then need `playlake up`. What is drawn and for how long is the seed's.
"""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient

from playlake.broker import config
from playlake.failpoints import VARIABLE
from tests.faults.chaos.chronicle import ChaosError, Chronicle, said_by
from tests.faults.chaos.clock import JUMPS_S
from tests.faults.chaos.fleet import Fleet
from tests.faults.chaos.stacks import Stack
from tests.support.commands import stopped
from tests.support.s3_proxy import Faults
from tests.support.waiting import wait_for

COMPACTION = ("compact-before-commit", "compact-after-commit")
_ALARMS = ("not compacted", "is missing")
"""What a compactor says of a lake in which something is wrong; nothing is."""
_COMMITS = "^PUT .*/_delta_log/0"
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
        self, stack: Stack, fleet: Fleet, folder: Path, rng: random.Random, stall_s: float, chronicle: Chronicle
    ) -> None:
        self._stack, self._fleet, self._folder, self._chronicle = stack, fleet, folder, chronicle
        self._rng = rng
        self._compactors: list[tuple[subprocess.Popen[bytes], str, Path]] = []
        self._number = 0
        self._now = contextlib.ExitStack()
        self._thread = ThreadPoolExecutor(1, "weather")
        self._turn: Future[None] | None = None
        self._until = 0.0
        self._deck: list[str] = []
        self._faults: dict[str, Fault] = {
            "S3 answers 500, 503, 429": lambda: self._s3(Faults({"500": 0.06, "503": 0.06, "429": 0.04})),
            "S3 connections reset and torn": lambda: self._s3(Faults({"reset": 0.07, "torn": 0.07})),
            "S3 replies lost": lambda: self._s3(Faults({"lost": 0.12})),
            "S3 commits' replies lost": lambda: self._s3(Faults({"lost": 0.5}, match=_COMMITS)),
            "S3 commits of which nobody learns": lambda: self._s3(Faults({"unsure": 0.3}, match=_COMMITS)),
            "S3 stalls": lambda: self._s3(Faults({"stall": 0.05}, stall_s=stall_s)),
            "S3 slow": lambda: self._s3(Faults(latency_s=0.1)),
            "broker connections cut": self._broker_cut,
            "broker slow": self._broker_slow,
            "broker killed": lambda: self._killed(self._stack.kill_broker),
            "store killed": lambda: self._killed(self._stack.kill_store),
            "disk full": self._disk_full,
            "clock jumps": self._clock_jumps,
            "group offsets deleted": self._offsets_deleted,
            "compactors": self._compacting,
            "calm": contextlib.nullcontext,
        }

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
        self._chronicle.count("around them", name)
        self._chronicle.note(f"weather: {name}")
        self._now.enter_context(self._faults[name]())
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
    def _killed(self, kill: Callable[[], None]) -> Iterator[None]:
        kill()
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
            # SeaweedFS writes to a volume again a minute after its disk has room, or when it is restarted.
            self._stack.kill_store()
            self._stack.up()

    @contextmanager
    def _clock_jumps(self) -> Iterator[None]:
        self._stack.clock.shift(self._rng.choice(JUMPS_S))
        try:
            yield
        finally:
            self._stack.clock.shift(0)

    @contextmanager
    def _offsets_deleted(self) -> Iterator[None]:
        """Only a group without members can be deleted: all members are killed before."""
        with self._fleet.without_members("before group offsets were deleted"):
            admin, group = AdminClient(config.librdkafka(self._stack.direct)), self._stack.direct.kafka_group

            def deleted() -> bool:
                try:
                    admin.delete_consumer_groups([group], request_timeout=10)[group].result()
                except ck.KafkaException as error:
                    return bool(error.args[0].code() == ck.KafkaError.GROUP_ID_NOT_FOUND)
                return True

            wait_for(deleted, 30, every=0.5)  # its dead members are forgotten after the session's timeout
        yield

    @contextmanager
    def _compacting(self) -> Iterator[None]:
        with contextlib.ExitStack() as around:
            if self._rng.random() < 0.5:
                around.enter_context(self._s3(Faults({"500": 0.04, "lost": 0.04, "reset": 0.04})))
            for _ in range(self._rng.choice((1, 2, 2))):
                how = self._rng.choice(("", "", *COMPACTION, *(f"{name}:1:stop" for name in COMPACTION)))
                self._number += 1
                log = self._folder / f"compactor-{self._number:04}.log"
                process = self._stack.start(log, "lake", "compact", "--json", **({VARIABLE: how} if how else {}))
                self._compactors.append((process, how, log))
            yield
            self._end_compactors(20)

    def _end_compactors(self, patience_s: float) -> None:
        """Let those that are frozen go on, wait for all, kill who takes too long."""
        until = time.monotonic() + patience_s
        compactors, self._compactors = self._compactors, []
        for process, how, log in compactors:
            frozen = stopped(process)
            process.send_signal(signal.SIGCONT)
            try:
                code = process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
                how = how if frozen else "any moment"
            said = said_by(log)
            if code not in (0, 1, -signal.SIGKILL) or any(words in said for words in _ALARMS):
                raise ChaosError(f"{log}: exit code {code}\n{said[-3000:]}")
            self._chronicle.note(f"{log.stem} has ended with {code}: {how}")
            if frozen or code == -signal.SIGKILL:
                what = "compactor frozen" if frozen else "compactor killed"
                self._chronicle.count(what, how.removesuffix(":1:stop"))

    def abandon(self) -> None:
        """End what is still going on in a run that has failed."""
        self._thread.shutdown(cancel_futures=True)
        with contextlib.suppress(Exception):
            self._end()
        for process, _, _ in self._compactors:
            process.kill()
            process.wait()
        self._compactors.clear()
