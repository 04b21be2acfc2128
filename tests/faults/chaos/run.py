"""A run of chaos: rounds of writers that die, freeze and come back while all around them fails, each round checked.

    make chaos [SEED=…] [KILLS=500] [STACK=embedded|kafka]

The same seed draws the same plans, faults and messages; which moment each falls on is the machine's. What happened is
printed as Markdown. When something is wrong, seed, folder and finding are printed and the folder stays.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.chaos.check import check
from tests.faults.chaos.clock import WallClock
from tests.faults.chaos.feed import Feed
from tests.faults.chaos.fleet import Fleet
from tests.faults.chaos.plans import FAILPOINTS
from tests.faults.chaos.stacks import STACKS, Stack
from tests.faults.chaos.weather import COMPACTION, WEIGHTS, Weather
from tests.support.forks import Nursery
from tests.support.interruptible import interruptible

LONG = 250
"""Kills from which on everything on the list must have happened."""
ROUNDS = ((1, False, 8), (2, False, 20), (3, False, 30), (3, True, 30), (5, True, 50))
"""How many writers, whether each is in a group of its own, and how many kills until all is checked."""


@dataclass
class Done:
    """What a run did, and the verifier's last counts."""

    stack: str
    seed: int
    seconds: float = 0.0
    rounds: int = 0
    kills: int = 0
    zombies: int = 0
    asked: int = 0
    gave_up: int = 0
    fenced: int = 0
    failed: int = 0
    trimmed: int = 0
    not_reached: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0
    bad: int = 0
    either: int = 0
    buried: int = 0
    at: dict[str, int] = field(default_factory=dict)
    frozen_at: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    compactors: dict[str, int] = field(default_factory=dict)
    compactors_frozen: dict[str, int] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    verified: dict[str, Any] = field(default_factory=dict)

    def never(self, *, can_fill_disk: bool) -> list[str]:
        """What should have happened in a long run and did not."""
        at = " ".join([*self.at, *self.frozen_at, *self.compactors, *self.compactors_frozen])
        places = [name for name in (*FAILPOINTS, *COMPACTION) if name not in at]
        faults = [name for name in WEIGHTS if name not in self.faults and (can_fill_disk or name != "disk full")]
        counts = {"zombies": self.zombies, "fences": self.fenced, "failures": self.failed, "buried": self.buried}
        return [*places, *faults, *(name for name, count in counts.items() if not count)]

    def markdown(self) -> str:
        """For people and for docs/chaos.md."""
        lines = [
            f"Stack {self.stack}, seed {self.seed}: {self.rounds} rounds, {self.seconds / 60:.0f} minutes;"
            f" {self.kills} kills -9 of writers and compactors, {self.zombies} zombies, {self.asked} asked to end,"
            f" {self.gave_up} gave up at their start or end; {self.fenced} times a writer met another's commit,"
            f" {self.failed} times it did not get through to the store;"
            f" {self.acknowledged:,} messages acknowledged, {self.bad:,} of them bad and {self.either:,} with a new"
            f" field of one type or another, of which {self.buried:,} are dead letters;"
            f" {self.trimmed:,} batches that had landed left the log meanwhile. After each round"
            f" {', '.join(f'{n} {name}' for name, n in self.verified.items() if name != 'files')}.",
            "",
            "| what | where | times |",
            "|---|---|---:|",
        ]
        for what, counts in (
            ("writer killed", self.at),
            ("writer frozen", self.frozen_at),
            ("failpoint not reached in time", self.not_reached),
            ("compactor killed", self.compactors),
            ("compactor frozen", self.compactors_frozen),
            ("around them", self.faults),
            ("S3 requests", self.requests),
        ):
            lines += [f"| {what} | {where} | {n:,} |" for where, n in sorted(counts.items())]
        return "\n".join(lines)


def run(
    stack: Stack, folder: Path, *, seed: int, kills: int, rate: float, stall_s: float, on_round: Any = print
) -> Done:
    """Rounds until so many kills have happened.

    :param rate: messages a second.
    :raises ChaosError: when something is wrong.
    """
    rng = random.Random(seed)
    started = time.monotonic()
    logs = folder / "logs"
    logs.mkdir()
    chronicle = (folder / "chronicle.txt").open("w", buffering=1)

    def note(text: str) -> None:
        chronicle.write(f"{time.monotonic() - started:8.2f} {text}\n")

    clock = WallClock(folder)
    nursery = Nursery({**stack.cli.env, **clock.env}, folder)
    fleet = Fleet(nursery, stack, logs, random.Random(rng.random()), note)
    weather = Weather(nursery, stack, fleet, clock, logs, random.Random(rng.random()), stall_s, note)
    feed = Feed(stack.direct, rng.randrange(2**31), rate, idempotent=stack.idempotent)
    feed.start()
    done = Done(stack.name, seed)

    def count() -> int:
        return fleet.kills.total() + weather.compactors.total()

    try:
        while count() < kills:
            size, apart, more = rng.choice(ROUNDS)
            enough = min(kills, count() + more)
            fleet.begin(size, apart=apart)
            while count() < enough:
                fleet.tick()
                weather.tick()
                time.sleep(0.05)
            note("the end of a round")
            weather.clear()
            fleet.ask_all()
            feed.settle()
            note("checking")
            done.verified = check(stack, feed.book)
            done.rounds += 1
            on_round(
                f"round {done.rounds} ({size} {'each alone' if apart else 'in one group'}): {count()} kills,"
                f" {fleet.zombies.total()} zombies, {weather.done.total()} faults,"
                f" {feed.book.acknowledged:,} messages; {done.verified}"
            )
            feed.go_on()
    finally:
        fleet.kill_all()
        weather.abandon()
        nursery.close()
        feed.stop()
        chronicle.close()
    done.seconds = time.monotonic() - started
    done.kills, done.zombies = count(), fleet.zombies.total()
    done.asked, done.gave_up, done.trimmed = fleet.asked, fleet.gave_up, fleet.trimmed
    done.fenced, done.failed = fleet.fenced, fleet.failed
    done.acknowledged, done.bad = feed.book.acknowledged, len(feed.book.bad)
    done.either, done.buried = len(feed.book.either), feed.book.buried
    done.not_reached = dict(fleet.not_reached)
    done.at, done.frozen_at = dict(fleet.kills), dict(fleet.zombies)
    done.compactors_frozen = dict(weather.frozen)
    done.faults, done.compactors, done.requests = dict(weather.done), dict(weather.compactors), dict(stack.store.done)
    return done


def main() -> int:
    """Run, print, and leave a failed run's folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=None, help="drawn and printed when left out")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--stack", choices=STACKS, default="embedded")
    parser.add_argument("--rate", type=float, default=100.0, help="messages a second")
    parser.add_argument("--stall", type=float, default=30.0, help="seconds that a request to S3 stalls")
    parser.add_argument("--json", type=Path, help="file for what happened, as JSON")
    options = parser.parse_args()
    for name in [n for n in os.environ if n.startswith("PLAYLAKE_")]:
        del os.environ[name]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"chaos: seed {seed}", file=sys.stderr, flush=True)
    folder = Path(tempfile.mkdtemp(prefix="playlake-chaos-"))
    with STACKS[options.stack](folder, seed) as stack:
        try:
            done = run(
                stack,
                folder,
                seed=seed,
                kills=options.kills,
                rate=options.rate,
                stall_s=options.stall,
                on_round=lambda text: print(text, file=sys.stderr, flush=True),
            )
        except BaseException:
            print(f"chaos: seed {seed} failed; logs and data are in {folder}", file=sys.stderr, flush=True)
            stack.keep()
            raise
    shutil.rmtree(folder, ignore_errors=True)
    print(done.markdown())
    if options.json:
        options.json.write_text(json.dumps(asdict(done), indent=1))
    if done.kills >= LONG and (never := done.never(can_fill_disk=stack.can_fill_disk)):
        print(f"chaos: seed {seed}: nothing was wrong, but these never happened: {never}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    interruptible(main)
