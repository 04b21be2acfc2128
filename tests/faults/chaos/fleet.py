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
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playlake.failpoints import VARIABLE
from tests.faults.chaos.plans import CHILD, Plan, plan
from tests.faults.chaos.stacks import Stack
from tests.support.forks import Nursery

GROUP = "playlake-lake"
_BROKEN = ("Traceback", "panicked", "This is a bug")
_TRIMMED = re.compile(r"trimmed the embedded broker's log.*?batches=(\d+)")
_LOG_BEHIND = "ends before offset"
_PAUSE_S = 0.5
"""After a writer that could not start, as a supervisor would."""
_STARTING_S = 45.0
"""How long a writer may take to be given partitions; some of that is the group's, which waits for its dead."""
_ENDING_S = 150.0
"""How long SIGTERM may take."""


class ChaosError(AssertionError):
    """Something that must hold does not."""


def whole(log: Path) -> str:
    """What a process has said.

    :raises ChaosError: when it tells of an error that nobody foresaw.
    """
    said = log.read_text(errors="replace") if log.exists() else ""
    if any(word in said for word in _BROKEN):
        raise ChaosError(f"{log}: an error that nobody foresaw\n{said[-3000:]}")
    return said


def _stuck(member: Member) -> ChaosError:
    """The error of a writer that does not end, with where each of its threads is."""
    member.process.send_signal(signal.SIGABRT)
    member.process.send_signal(signal.SIGCONT)
    member.process.wait()
    said = member.log.read_text(errors="replace")
    return ChaosError(f"{member.log}: still there {_ENDING_S:.0f} s after SIGTERM\n{said[-6000:]}")


class Member:
    """One writer process."""

    def __init__(
        self, nursery: Nursery, stack: Stack, log: Path, group: str, plan: Plan, thawed_s: float = 5.0
    ) -> None:
        self.plan, self.log = plan, log
        self.thawed_s = thawed_s
        """How long it lives on as a zombie, once it has been frozen."""
        self.frozen_at: float | None = None
        self.asked_at: float | None = None
        self._reading_at: float | None = None
        environment = {
            **nursery.env,
            **stack.environment(stack.through),
            "PLAYLAKE_FLUSH_ROWS": "30",
            "PLAYLAKE_FLUSH_SECONDS": "1",
            "PLAYLAKE_CATCHUP_ROWS": str(plan.catchup_rows),
            "PLAYLAKE_CHECKPOINT_VERSIONS": "10",
            "PLAYLAKE_EMBEDDED_LOG_BATCHES": "100",
            "PLAYLAKE_LOG_LEVEL": "debug",
            **({VARIABLE: plan.failpoint} if plan.where else {}),
        }
        self.started = time.monotonic()
        self.process = nursery.start("land", out=log, env=environment, group=group)

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self.started

    @property
    def reading_s(self) -> float | None:
        """For how long it has had partitions; None while it has none."""
        if self._reading_at is None and self._said("partitions assigned"):
            self._reading_at = time.monotonic()
        return None if self._reading_at is None else time.monotonic() - self._reading_at

    @property
    def joined(self) -> bool:
        """Whether it heeds signals: before that it is still being loaded."""
        return self._said("joining")

    @property
    def anywhere(self) -> str:
        """Words for a place that is no failpoint."""
        return "any moment" if self.reading_s is not None else "while it started"

    def woken_until_it_ends(self) -> int:
        """Its exit code; where it comes to the failpoint at which it was to freeze on its way there, it goes on.

        :raises ChaosError: when it takes too long.
        """
        until = time.monotonic() + _ENDING_S
        while (code := self.process.poll()) is None:
            if time.monotonic() > until:
                raise _stuck(self)
            if self.process.stopped:
                self.process.send_signal(signal.SIGCONT)
            time.sleep(0.05)
        return code

    @property
    def child_died(self) -> bool:
        """Whether the process that made its checkpoint was killed."""
        return self._said("no checkpoint could be made")

    def _said(self, words: str) -> bool:
        return self.log.exists() and words in self.log.read_text(errors="replace")


class Fleet:
    """So many writers at a time, in one group or each in one of its own, and the count of what became of them."""

    def __init__(
        self, nursery: Nursery, stack: Stack, folder: Path, rng: random.Random, note: Callable[[str], None]
    ) -> None:
        self._nursery, self._stack, self._folder, self._rng = nursery, stack, folder, rng
        self._note = note
        self.members: list[Member] = []
        self.kills: Counter[str] = Counter()
        self.zombies: Counter[str] = Counter()
        self.not_reached: Counter[str] = Counter()
        """Failpoints that a writer did not come to in time."""
        self.asked = self.gave_up = self.trimmed = self._number = 0
        self.fenced = self.failed = 0
        """How often a writer met another's commit, and how often one did not get through to the store for good."""
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
        group = f"chaos-{uuid.UUID(int=rng.getrandbits(128))}" if self.apart else GROUP
        log = self._folder / f"writer-{self._number:05}.log"
        what = plan(rng, apart=self.apart)
        self.members.append(Member(self._nursery, self._stack, log, group, what, rng.uniform(3, 8)))

    def _look_at(self, member: Member) -> None:
        plan, process = member.plan, member.process
        if (code := process.poll()) is not None:
            self._ended(member, code)
        elif member.frozen_at is not None:
            if time.monotonic() - member.frozen_at > self._stack.frozen_s:
                process.send_signal(signal.SIGCONT)
                member.frozen_at = None
                # What it does now as a zombie is what matters; after that it is killed.
                member.plan = plan.anywhere("kill", member.age + member.thawed_s)
        elif plan.where:
            if plan.where == CHILD and member.child_died:
                self.kills[f"{CHILD}, its process"] += 1
                member.plan = plan.anywhere("kill", member.age + member.thawed_s)
            elif plan.how == "freeze" and process.stopped:
                self._froze(member, plan.where)
            elif (member.reading_s or 0) > plan.patience_s or (member.reading_s is None and member.age > _STARTING_S):
                self.not_reached[plan.where] += 1
                member.plan = plan.anywhere(plan.how, 0.0)
        elif member.age > plan.after_s:
            self._due(member)

    def _due(self, member: Member) -> None:
        plan, process = member.plan, member.process
        if plan.how == "kill":
            process.kill()
            self._ended(member, process.wait(), member.anywhere)
        elif not member.joined:
            return
        elif plan.how == "freeze":
            process.send_signal(signal.SIGSTOP)
            self._froze(member, "any moment")
        elif member.asked_at is None:
            process.terminate()
            member.asked_at = time.monotonic()
        elif time.monotonic() - member.asked_at > _ENDING_S:
            raise _stuck(member)

    def _froze(self, member: Member, where: str) -> None:
        member.frozen_at = time.monotonic()
        self.zombies[where] += 1
        self._note(f"{member.log.stem} is frozen: {where}")

    def _ended(self, member: Member, code: int, where: str = "") -> None:
        self.members.remove(member)
        self._note(f"{member.log.stem} has ended with {code} after {member.age:.1f} s: {where or member.plan}")
        said = whole(member.log)
        self.fenced += said.count("another writer was here")
        self.failed += said.count("nothing can be landed now")
        self.trimmed += sum(int(batches) for batches in _TRIMMED.findall(said))
        at_work = member.reading_s is not None and member.asked_at is None
        if code == -signal.SIGKILL:
            self.kills[where or member.plan.where or member.anywhere] += 1
        elif code == 0 and member.asked_at is not None:
            self.asked += 1
        elif code in (1, -signal.SIGTERM) and "playlake: " in said and not at_work and _LOG_BEHIND not in said:
            # Broker or store away at its start, or when it was to write what it held at its end (-15: asked while it
            # was ending already). A supervisor starts it again, and so do we.
            self.gave_up += 1
            self._next_at = time.monotonic() + _PAUSE_S
        else:
            raise ChaosError(f"{member.log}: exit code {code} ({member.plan})\n{said[-3000:]}")

    def ask_all(self) -> None:
        """Nothing is wrong any more: SIGTERM ends all who run, with code 0; but for those who were asked before, when
        something may have been wrong."""
        before = {member for member in self.members if member.asked_at is not None}
        for member in self.members:
            member.process.send_signal(signal.SIGCONT)
            if member in before:
                continue
            if member.joined:
                member.process.terminate()
                member.asked_at = time.monotonic()
            else:
                member.plan = member.plan.anywhere("kill", 0.0)
                member.process.kill()
        for member in list(self.members):
            code = member.woken_until_it_ends()
            said = whole(member.log)
            started = member.asked_at is not None and member.reading_s is not None
            if started and member not in before and code not in (0, -signal.SIGKILL):
                raise ChaosError(f"{member.log}: SIGTERM ended it with code {code}\n{said[-3000:]}")
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
