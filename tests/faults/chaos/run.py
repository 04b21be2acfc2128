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
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.faults.chaos.check import check
from tests.faults.chaos.chronicle import Chronicle
from tests.faults.chaos.feed import Feed
from tests.faults.chaos.fleet import Fleet
from tests.faults.chaos.plans import FAILPOINTS
from tests.faults.chaos.stacks import STACKS, Stack
from tests.faults.chaos.weather import COMPACTION, WEIGHTS, Weather
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
    messages: dict[str, int] = field(default_factory=dict)
    happened: dict[str, dict[str, int]] = field(default_factory=dict)
    """By what and where, how often."""
    verified: dict[str, int] = field(default_factory=dict)

    def never(self, *, can_fill_disk: bool) -> list[str]:
        """What should have happened in a long run and did not."""
        died = [p for what, places in self.happened.items() if what.endswith(("killed", "frozen")) for p in places]
        around, writers = self.happened.get("around them", {}), self.happened.get("writers", {})
        places = [name for name in (*FAILPOINTS, *COMPACTION) if not any(name in place for place in died)]
        faults = [name for name in WEIGHTS if name not in around and (can_fill_disk or name != "disk full")]
        counts = {
            "zombies": self.zombies,
            **{name: writers.get(name, 0) for name in ("met another's commit", "did not get through to the store")},
        }
        return [*places, *faults, *(name for name, n in counts.items() if not n)]

    def markdown(self) -> str:
        """For people and for docs/chaos.md."""
        messages = ", ".join(f"{n:,} {what}" for what, n in self.messages.items())
        verified = ", ".join(f"{n} {name}" for name, n in self.verified.items() if name != "files")
        lines = [
            f"Stack {self.stack}, seed {self.seed}: {self.rounds} rounds, {self.seconds / 60:.0f} minutes;"
            f" {self.kills} kills -9 of writers and compactors, {self.zombies} zombies; messages: {messages}."
            f" After each round {verified}.",
            "",
            "| what | where | times |",
            "|---|---|---:|",
        ]
        for what, places in sorted(self.happened.items()):
            lines += [f"| {what} | {where} | {n:,} |" for where, n in sorted(places.items()) if n]
        return "\n".join(lines)


def run(
    stack: Stack,
    folder: Path,
    *,
    seed: int,
    kills: int,
    rate: float,
    stall_s: float,
    say: Callable[[str], None] = print,
) -> Done:
    """Rounds until so many kills have happened.

    :param rate: messages a second.
    :raises ChaosError: when something is wrong.
    """
    rng = random.Random(seed)
    started = time.monotonic()
    logs = folder / "logs"
    logs.mkdir()
    chronicle = Chronicle(folder / "chronicle.txt")
    fleet = Fleet(stack, logs, random.Random(rng.random()), chronicle)
    weather = Weather(stack, fleet, logs, random.Random(rng.random()), stall_s, chronicle)
    feed = Feed(stack.direct, rng.randrange(2**31), rate, idempotent=stack.idempotent)
    feed.start()
    done = Done(stack.name, seed)
    try:
        while chronicle.kills < kills:
            size, apart, more = rng.choice(ROUNDS)
            enough = min(kills, chronicle.kills + more)
            fleet.begin(size, apart=apart)
            while chronicle.kills < enough:
                fleet.tick()
                weather.tick()
                time.sleep(0.05)
            chronicle.note("the end of a round")
            weather.clear()
            fleet.ask_all()
            feed.settle()
            chronicle.note("checking")
            done.verified = check(stack, feed.book)
            done.rounds += 1
            say(
                f"round {done.rounds} ({size} {'each alone' if apart else 'in one group'}): {chronicle.kills} kills,"
                f" {chronicle.zombies} zombies, {chronicle.total('around them')} faults,"
                f" {feed.book.acknowledged:,} messages; {done.verified}"
            )
            feed.go_on()
    finally:
        fleet.kill_all()
        weather.abandon()
        feed.stop()
        chronicle.close()
    done.seconds = time.monotonic() - started
    done.kills, done.zombies, done.messages = chronicle.kills, chronicle.zombies, feed.book.counts()
    for (what, where), times in (
        chronicle.counts + Counter({("S3 requests", k): n for k, n in stack.store.done.items()})
    ).items():
        done.happened.setdefault(what, {})[where] = times
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
                say=lambda text: print(text, file=sys.stderr, flush=True),
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
