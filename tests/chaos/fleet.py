"""Writer processes, each with a plan of how it is to end: killed or frozen at a failpoint or at any moment, or asked.

A writer that has ended is followed by another with the next plan. All draws are from the run's seed.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from playlake.failpoints import VARIABLE
from tests.chaos.clock import WallClock
from tests.chaos.stacks import PROGRAMS, Stack

FAILPOINTS = (
    "after-poll",
    "before-files",
    "after-files",
    "between-dead-letters-and-bronze",
    "before-commit",
    "after-commit",
    "in-revoke",
    "checkpoint",
)
FROZEN_S = 8.0
"""Longer than the session's timeout, 6 s: the group gives the partitions away meanwhile."""
_PATIENCE_S = 20.0
"""How long a failpoint is waited for; then the writer is killed where it is."""
GROUP = "playlake-lake"


class ChaosError(AssertionError):
    """Something that must hold does not."""


@dataclass(frozen=True)
class Plan:
    """How a writer is to end: ``kill``, ``freeze`` or ``ask`` (SIGTERM).

    ``where`` at the pass ``passes``, or, where that is empty, ``after_s`` seconds.
    """

    how: str
    where: str
    passes: int
    after_s: float
    catchup_rows: int

    @property
    def failpoint(self) -> str:
        """The environment variable's value."""
        return f"{self.where}:{self.passes}" + (":stop" if self.how == "freeze" else "") if self.where else ""

    def __str__(self) -> str:
        return f"{self.how} {self.failpoint or f'after {self.after_s:.1f} s'}"


def plan(rng: random.Random) -> Plan:
    """The next one."""
    how = rng.choices(("kill", "freeze", "ask"), (75, 15, 10))[0]
    where = rng.choice(FAILPOINTS) if how != "ask" and rng.random() < 0.75 else ""
    passes = 1 if where in ("in-revoke", "checkpoint") else rng.choice((1, 1, 2, 3, 5, 8))
    return Plan(how, where, passes, rng.uniform(0.5, 10.0), rng.choice((30, 100, 400, 5000)))


class Member:
    """One writer process."""

    def __init__(self, stack: Stack, clock: WallClock, log: Path, group: str, plan: Plan) -> None:
        self.plan, self.log = plan, log
        self.frozen_at: float | None = None
        self.asked_at: float | None = None
        environment = {
            **stack.cli.env,
            **stack.through.environment(),
            **clock.env,
            "PLAYLAKE_FLUSH_ROWS": "30",
            "PLAYLAKE_FLUSH_SECONDS": "2",
            "PLAYLAKE_CATCHUP_ROWS": str(plan.catchup_rows),
            **({VARIABLE: plan.failpoint} if plan.where else {}),
        }
        self.started = time.monotonic()
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAMS), "land", group],
                env=environment,
                cwd=stack.folder,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self.started

    @property
    def joined(self) -> bool:
        """Whether it heeds signals: before that it is still being loaded."""
        return "joining" in self.log.read_text(errors="replace")

    @property
    def stopped(self) -> bool:
        """Whether it is frozen."""
        try:
            return psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return False


class Fleet:
    """So many writers at a time, in one group or each in one of its own, and the count of what became of them."""

    def __init__(
        self, stack: Stack, clock: WallClock, folder: Path, rng: random.Random, note: Callable[[str], None]
    ) -> None:
        self._stack, self._clock, self._folder, self._rng = stack, clock, folder, rng
        self._note = note
        self.members: list[Member] = []
        self.kills: Counter[str] = Counter()
        self.zombies: Counter[str] = Counter()
        self.asked = self.gave_up = self._number = 0
        self._size, self._apart = 1, False
        self._lock = threading.RLock()
        """The weather, in a thread of its own, kills members too."""

    def begin(self, size: int, *, apart: bool) -> None:
        """Let so many run from now on; ``apart``: all of them on all partitions."""
        self._size, self._apart = size, apart

    def tick(self) -> None:
        """Do what is due, and start who is missing."""
        with self._lock:
            self._tick()

    def _tick(self) -> None:
        for member in list(self.members):
            self._look_at(member)
        while len(self.members) < self._size:
            self._number += 1
            group = f"chaos-{uuid.UUID(int=self._rng.getrandbits(128))}" if self._apart else GROUP
            log = self._folder / f"writer-{self._number:05}.log"
            self.members.append(Member(self._stack, self._clock, log, group, plan(self._rng)))
            self._note(f"{log.stem} begins in {group}: {self.members[-1].plan}")

    def _look_at(self, member: Member) -> None:
        plan, process = member.plan, member.process
        if (code := process.poll()) is not None:
            self._ended(member, code)
        elif member.frozen_at is not None:
            if time.monotonic() - member.frozen_at > FROZEN_S:
                process.send_signal(signal.SIGCONT)
                self._note(f"{member.log.stem} goes on")
                member.frozen_at = None
                # What it does now as a zombie is what matters; after that it is killed.
                member.plan = Plan("kill", "", 1, member.age + self._rng.uniform(3, 8), plan.catchup_rows)
        elif member.stopped:
            self._froze(member, plan.where)
        elif plan.where and member.age < _PATIENCE_S:
            return
        elif plan.how == "freeze" and (plan.where or member.age > plan.after_s):
            if member.joined:
                process.send_signal(signal.SIGSTOP)
                self._froze(member, "any moment")
        elif plan.how == "ask" and member.age > plan.after_s and member.joined:
            if member.asked_at is None:
                process.terminate()
                member.asked_at = time.monotonic()
            elif time.monotonic() - member.asked_at > 150:
                process.kill()
                process.wait()
                raise ChaosError(f"{member.log}: still there 150 s after SIGTERM")
        elif plan.how == "kill" and member.age > plan.after_s:
            process.kill()
            process.wait()
            self._ended(member, -signal.SIGKILL, "any moment")

    def _froze(self, member: Member, where: str) -> None:
        member.frozen_at = time.monotonic()
        self.zombies[where] += 1
        self._note(f"{member.log.stem} is frozen: {where}")

    def _ended(self, member: Member, code: int, where: str = "") -> None:
        self.members.remove(member)
        self._note(f"{member.log.stem} has ended with {code}: {where or member.plan}")
        said = member.log.read_text(errors="replace")
        if "Traceback" in said or "panicked" in said:
            raise ChaosError(f"{member.log}: a traceback\n{said[-3000:]}")
        if code == -signal.SIGKILL:
            self.kills[where or member.plan.where] += 1
        elif code == 0 and member.asked_at is not None:
            self.asked += 1
        elif code == 1 and "playlake: " in said:
            self.gave_up += 1  # broker or store away at its start: a supervisor starts it again, and so do we
        else:
            raise ChaosError(f"{member.log}: exit code {code} ({member.plan})\n{said[-3000:]}")

    def ask_all(self) -> None:
        """Nothing is wrong any more: SIGTERM ends all who run, with code 0."""
        for member in self.members:
            if member.process.poll() is None:
                member.process.send_signal(signal.SIGCONT)
                if member.joined:
                    member.process.terminate()
                    member.asked_at = time.monotonic()
                else:
                    member.process.kill()
        for member in list(self.members):
            try:
                code = member.process.wait(150)
            except subprocess.TimeoutExpired:
                member.process.kill()
                member.process.wait()
                raise ChaosError(f"{member.log}: still there 150 s after SIGTERM, with nothing wrong") from None
            if member.asked_at is not None and code not in (0, -signal.SIGKILL):
                said = member.log.read_text(errors="replace")
                raise ChaosError(f"{member.log}: SIGTERM ended it with code {code}\n{said[-3000:]}")
            self._ended(member, code, "while it was loaded" if member.asked_at is None else "")

    def kill_members(self, why: str) -> None:
        """kill -9 of all who run, as one of the things that happen."""
        with self._lock:
            for member in list(self.members):
                member.process.kill()
                self._ended(member, member.process.wait(), why)

    def kill_all(self) -> None:
        """End all, whatever they do: a run that has failed."""
        for member in self.members:
            member.process.kill()
            member.process.wait()
        self.members.clear()
