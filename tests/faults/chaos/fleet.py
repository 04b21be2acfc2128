"""Writer processes, each with a plan of how it is to end: killed or frozen at a failpoint or at any moment, or asked.

A writer that has ended is followed by another with the next plan.
"""

from __future__ import annotations

import random
import re
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playlake.failpoints import VARIABLE
from tests.faults.chaos.chronicle import ChaosError, Chronicle, said_by
from tests.faults.chaos.plans import CHILD, Plan, plan
from tests.faults.chaos.stacks import Stack
from tests.support.commands import stopped

_TRIMMED = re.compile(r"trimmed the embedded broker's log.*?batches=(\d+)")
_LOG_BEHIND = "ends before offset"
_PAUSE_S = 0.5
"""After a writer that could not start, as a supervisor would."""
_STARTING_S = 45.0
"""How long a writer may take to be assigned partitions; the group waits for its dead members meanwhile."""
_ENDING_S = 150.0
"""How long SIGTERM may take."""


class Member:
    """One writer process.

    :param group: its consumer group, if not that of the settings.
    :param thawed_s: how long it lives on after it was frozen.
    """

    def __init__(self, stack: Stack, log: Path, plan: Plan, *, group: str = "", thawed_s: float = 5.0) -> None:
        self.plan, self.log, self.thawed_s = plan, log, thawed_s
        self.frozen_at: float | None = None
        self.asked_at: float | None = None
        self._first: dict[str, float] = {}
        self.started = time.monotonic()
        self.process = stack.start(
            log,
            "land",
            PLAYLAKE_FLUSH_ROWS="30",
            PLAYLAKE_FLUSH_SECONDS="1",
            PLAYLAKE_CATCHUP_ROWS=str(plan.catchup_rows),
            PLAYLAKE_CHECKPOINT_VERSIONS="10",
            PLAYLAKE_EMBEDDED_LOG_BATCHES="100",
            PLAYLAKE_LOG_LEVEL="debug",
            **({"PLAYLAKE_KAFKA_GROUP": group} if group else {}),
            **({VARIABLE: plan.failpoint} if plan.where else {}),
        )

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self.started

    def since(self, words: str) -> float | None:
        """Seconds since these words were first seen in its log; None where they are not there."""
        if words not in self._first and self.said(words):
            self._first[words] = time.monotonic()
        return time.monotonic() - self._first[words] if words in self._first else None

    @property
    def reading_s(self) -> float | None:
        """For how long it has had partitions; None while it has none."""
        return self.since("partitions assigned")

    @property
    def joined_s(self) -> float | None:
        """For how long it heeds signals; None while it is still being loaded."""
        return self.since("joining")

    @property
    def anywhere(self) -> str:
        """Words for a place that is no failpoint."""
        return "any moment" if self.reading_s is not None else "while it joined"

    def said(self, words: str) -> bool:
        """Whether its log has these words."""
        return words in self.log.read_text(errors="replace")

    def ask(self) -> None:
        """SIGTERM."""
        self.process.terminate()
        self.asked_at = time.monotonic()

    def stuck(self) -> ChaosError:
        """The error of a writer that does not end; SIGABRT writes where each of its threads is."""
        self.process.send_signal(signal.SIGABRT)
        self.process.send_signal(signal.SIGCONT)
        self.process.wait()
        said = self.log.read_text(errors="replace")
        return ChaosError(f"{self.log}: still there {_ENDING_S:.0f} s after SIGTERM\n{said[-6000:]}")

    def woken_until_it_ends(self) -> int:
        """Its exit code; where it freezes at its failpoint on its way there, it goes on.

        :raises ChaosError: when it takes too long.
        """
        until = time.monotonic() + _ENDING_S
        while (code := self.process.poll()) is None:
            if time.monotonic() > until:
                raise self.stuck()
            if stopped(self.process):
                self.process.send_signal(signal.SIGCONT)
            time.sleep(0.05)
        return code


class Fleet:
    """So many writers at a time, in one group or each in one of its own."""

    def __init__(self, stack: Stack, folder: Path, rng: random.Random, chronicle: Chronicle) -> None:
        self._stack, self._folder, self._chronicle = stack, folder, chronicle
        self.members: list[Member] = []
        self._number = 0
        self._seed = rng.random()
        self._size, self.apart = 1, False
        self._next_at = 0.0
        self._held = False
        self._lock = threading.RLock()
        """The weather, in a thread of its own, kills members too."""

    def begin(self, size: int, *, apart: bool) -> None:
        """Let so many run from now on; ``apart``: all of them on all partitions."""
        self._size, self.apart = size, apart

    def tick(self) -> None:
        """Do what is due, and start who is missing."""
        with self._lock:
            for member in list(self.members):
                self._look_at(member)
            while not self._held and self._awake < self._size and time.monotonic() >= self._next_at:
                self._start()

    @property
    def _awake(self) -> int:
        """A writer that is frozen does not keep others from coming in its place."""
        return sum(member.frozen_at is None for member in self.members)

    def _start(self) -> None:
        self._number += 1
        rng = random.Random(f"{self._seed}/{self._number}")  # the same plan, whatever moment it is
        group = f"chaos-{uuid.UUID(int=rng.getrandbits(128))}" if self.apart else ""
        log = self._folder / f"writer-{self._number:05}.log"
        what = plan(rng, apart=self.apart)
        self.members.append(Member(self._stack, log, what, group=group, thawed_s=rng.uniform(3, 8)))

    def _look_at(self, member: Member) -> None:
        plan, process = member.plan, member.process
        if (code := process.poll()) is not None:
            self._ended(member, code)
        elif member.frozen_at is not None:
            if time.monotonic() - member.frozen_at > self._stack.frozen_s:
                process.send_signal(signal.SIGCONT)
                member.frozen_at = None
                # What it does now as a zombie is what matters; after that it is killed.
                member.plan = plan.anywhere("kill", (member.joined_s or 0) + member.thawed_s)
        elif plan.where:
            if plan.where == CHILD and member.said("no checkpoint could be made"):
                self._chronicle.count("writer killed", f"{CHILD}, its process")
                member.plan = plan.anywhere("kill", (member.joined_s or 0) + member.thawed_s)
            elif plan.how == "freeze" and stopped(process):
                self._froze(member, plan.where)
            elif (member.reading_s or 0) > plan.patience_s or (member.reading_s is None and member.age > _STARTING_S):
                self._chronicle.count("failpoint not reached in time", plan.where)
                member.plan = plan.anywhere(plan.how, 0.0)
        elif (member.joined_s or 0) > plan.after_s or (member.joined_s is None and member.age > _STARTING_S):
            self._due(member)

    def _due(self, member: Member) -> None:
        if member.plan.how == "kill":
            member.process.kill()
            self._ended(member, member.process.wait(), member.anywhere)
        elif member.joined_s is None:
            return
        elif member.plan.how == "freeze":
            member.process.send_signal(signal.SIGSTOP)
            self._froze(member, "any moment")
        elif member.asked_at is None:
            member.ask()
        elif time.monotonic() - member.asked_at > _ENDING_S:
            raise member.stuck()

    def _froze(self, member: Member, where: str) -> None:
        member.frozen_at = time.monotonic()
        self._chronicle.count("writer frozen", where)
        self._chronicle.note(f"{member.log.stem} is frozen: {where}")

    def _ended(self, member: Member, code: int, where: str = "") -> None:
        self.members.remove(member)
        note, count = self._chronicle.note, self._chronicle.count
        note(f"{member.log.stem} has ended with {code} after {member.age:.1f} s: {where or member.plan}")
        said = said_by(member.log)
        count("writers", "met another's commit", said.count("another writer was here"))
        count("writers", "did not get through to the store", said.count("nothing can be landed now"))
        count("writers", "batches trimmed from the log", sum(map(int, _TRIMMED.findall(said))))
        at_work = member.reading_s is not None and member.asked_at is None
        if code == -signal.SIGKILL:
            count("writer killed", where or member.plan.where or member.anywhere)
        elif code == 0 and member.asked_at is not None:
            count("writers", "asked to end")
        elif code in (1, -signal.SIGTERM) and "playlake: " in said and not at_work and _LOG_BEHIND not in said:
            # Broker or store away at its start, or when it was to write what it held at its end (-15: asked while it
            # was ending already). A supervisor starts it again, and so do we.
            count("writers", "gave up at their start or end")
            self._next_at = time.monotonic() + _PAUSE_S
        else:
            raise ChaosError(f"{member.log}: exit code {code} ({member.plan})\n{said[-3000:]}")

    def ask_all(self) -> None:
        """Nothing is wrong any more: SIGTERM ends all who run, with code 0. Those who were asked before, when
        something may have been wrong, may end with another."""
        before = {member for member in self.members if member.asked_at is not None}
        for member in self.members:
            member.process.send_signal(signal.SIGCONT)
            if member in before:
                continue
            if member.joined_s is not None:
                member.ask()
            else:
                member.plan = member.plan.anywhere("kill", 0.0)
                member.process.kill()
        for member in list(self.members):
            code = member.woken_until_it_ends()
            started = member.asked_at is not None and member.reading_s is not None
            if started and member not in before and code not in (0, -signal.SIGKILL):
                raise ChaosError(f"{member.log}: SIGTERM ended it with {code}\n{said_by(member.log)[-3000:]}")
            self._ended(member, code)

    @contextmanager
    def without_members(self, why: str) -> Iterator[None]:
        """kill -9 of all who run, as one of the things that happen; nobody is started until the context ends."""
        with self._lock:
            self._held = True
            for member in list(self.members):
                member.process.kill()
                self._ended(member, member.process.wait(), why)
        try:
            yield
        finally:
            self._held = False

    def kill_all(self) -> None:
        """End all, whatever they do: a run that has failed."""
        for member in self.members:
            member.process.kill()
            member.process.wait()
        self.members.clear()
