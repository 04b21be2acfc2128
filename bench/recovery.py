"""How soon the writer has caught up again after kill -9: `make bench-recovery`, or this file with .venv's Python.

A thousand plays a second go to the embedded broker. A supervisor starts `playlake land` again whenever it ends, at
once, as systemd or Compose do. It is killed at a random moment, again and again; the lag is the age of the oldest play
that the broker has acknowledged and that is in no commit of the lake. It is back to 0 when it is below one second,
which is what it is while nothing is wrong. Printed as Markdown; exit code 1 when one recovery takes longer than 10 s,
when fewer plays came than were meant, or when `lake verify` finds anything at the end.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

import confluent_kafka as ck

from bench.measure import say
from bench.plays import plays
from playlake import events
from playlake.broker import Admin, config
from playlake.lake import tables
from playlake.lake.deliver import app_id
from playlake.settings import Settings, load_settings
from playlake.stack import EmbeddedStack, attach
from tests.support.commands import ProcessCli
from tests.support.interruptible import interruptible

LIMIT_S = 10.0
ZERO_S = 1.0


class Feed(threading.Thread):
    """So many plays a second, and when each was acknowledged, by partition and offset."""

    def __init__(self, settings: Settings, rate: float, seed: int, partitions: int) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[list[float]] = [[] for _ in range(partitions)]
        self.failed = 0
        self._rate = rate
        self._source = plays(seed)
        self._stopped = threading.Event()
        self._producer = ck.Producer({**config.librdkafka(settings), "acks": "all", "linger.ms": 100})

    def run(self) -> None:
        """Send until stopped."""
        started, number = time.monotonic(), 0
        while not self._stopped.is_set():
            while number < (time.monotonic() - started) * self._rate:
                key, value = next(self._source)
                partition = number % len(self.acknowledged)
                self._producer.produce(events.PLAYS, value, key, partition=partition, on_delivery=self._delivered)
                number += 1
            self._producer.poll(0.02)

    def _delivered(self, error: ck.KafkaError | None, message: ck.Message) -> None:
        if error:
            self.failed += 1
            return
        times, offset = self.acknowledged[message.partition() or 0], message.offset() or 0
        times += [time.monotonic()] * (offset + 1 - len(times))

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        self.join()
        self._producer.flush()


class Supervisor(threading.Thread):
    """Runs the command, and runs it again whenever it has ended."""

    def __init__(self, home: Path, log: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._log = log
        self._env = {**os.environ, "PLAYLAKE_HOME": str(home)}
        self._stopped = False
        self.process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Start, wait, start again."""
        while not self._stopped:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "playlake", "land"],
                env=self._env,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
            )
            self.process.wait()

    def kill(self) -> None:
        """kill -9."""
        assert self.process
        self.process.send_signal(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order."""
        self._stopped = True
        if self.process:
            self.process.terminate()
        self.join()


class Lag:
    """How far the lake is behind."""

    def __init__(self, settings: Settings, feed: Feed, topic_id: str) -> None:
        self._table = tables.bronze(settings, events.PLAYS)
        self._feed = feed
        self._apps = [app_id(events.PLAYS, topic_id, p) for p in range(len(feed.acknowledged))]

    def look(self) -> tuple[float, int]:
        """Age of the oldest play that is not in the lake, in seconds, and how many there are."""
        self._table.refresh()
        now, oldest, count = time.monotonic(), 0.0, 0
        positions = [self._table.position(app) or 0 for app in self._apps]
        if not any(positions):
            return math.inf, 0  # the first writer has not begun
        for position, times in zip(positions, self._feed.acknowledged, strict=True):
            if waiting := len(times) - position:
                oldest = max(oldest, now - times[position])
                count += waiting
        return oldest, count


def usual(lag: Lag, seconds: float) -> list[float]:
    """The lag while nothing is wrong, which it has to come to first."""
    until = time.monotonic() + 60
    while lag.look()[0] > ZERO_S:
        if time.monotonic() > until:
            raise SystemExit("The lag does not come to 0 although nothing is wrong.")
        time.sleep(0.05)
    until, seen = time.monotonic() + seconds, []
    while time.monotonic() < until:
        seen.append(lag.look()[0])
        time.sleep(0.05)
    return seen


def recovered(lag: Lag, supervisor: Supervisor) -> tuple[float, float, int]:
    """Kill, and wait: seconds until something is landed again and until the lag is 0; most plays that waited."""
    supervisor.kill()
    killed = time.monotonic()
    again, most, before = 0.0, 0, 0
    while time.monotonic() - killed < 120:
        age, waiting = lag.look()
        past = time.monotonic() - killed
        if not again and waiting < before - 1000:
            again = past
        most, before = max(most, waiting), waiting
        # The first second says nothing: all that is acknowledged is young then, whoever lands it.
        if past > ZERO_S and age < ZERO_S and again:
            return again, past, most
        time.sleep(0.05)
    raise SystemExit("The lag was not back to 0 after two minutes.")


def main() -> int:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--rate", type=float, default=1000.0, help="plays a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", type=Path, default=Path(os.devnull), help="file for what the writers say")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    found, calm = [], []
    with tempfile.TemporaryDirectory() as folder, options.log.open("wb") as log:
        home = Path(folder) / "home"
        stack = EmbeddedStack(load_settings(_env_file=None, home=home))
        stack.up(on_progress=say)
        try:
            settings = attach(load_settings(_env_file=None, home=home))
            with Admin(settings) as admin:
                topic = admin.ensure(events.TOPICS)[events.PLAYS]
            feed = Feed(settings, options.rate, options.seed, topic.partitions)
            supervisor = Supervisor(home, log)
            started = time.monotonic()
            feed.start()
            supervisor.start()
            lag = Lag(settings, feed, topic.topic_id)
            for number in range(options.times):
                calm += usual(lag, rng.uniform(4, 8))
                found.append(recovered(lag, supervisor))
                say(f"{number + 1}: landing again after {found[-1][0]:.1f} s, lag 0 after {found[-1][1]:.1f} s")
            feed.stop()
            sent, took = sum(map(len, feed.acknowledged)), time.monotonic() - started
            supervisor.stop()
            cli = ProcessCli(home)
            cli.json("land", "--until-idle")
            report = cli.json("lake", "verify", check=None)
        finally:
            stack.down()
    print("| kill | landing again, s | lag back to 0, s | most plays that waited |\n|---:|---:|---:|---:|")
    for number, (again, zero, most) in enumerate(found, 1):
        print(f"| {number} | {again:.1f} | {zero:.1f} | {most:,} |")
    zeros = [zero for _, zero, _ in found]
    print(f"| median, longest | | {statistics.median(zeros):.1f}, {max(zeros):.1f} | |")
    print(
        f"\nWhile nothing is wrong the lag is {statistics.median(calm):.2f} s (95 % below"
        f" {statistics.quantiles(calm, n=20)[-1]:.2f} s). {feed.failed} plays were not acknowledged;"
        f" {sent:,} were, {sent / took:,.0f} a second. At the end {report['lost']} lost, {report['doubled']} doubled."
    )
    whole = report["healthy"] and sum(p["in_bronze"] for p in report["partitions"]) >= sent
    return int(max(zeros) > LIMIT_S or sent / took < 0.9 * options.rate or not whole)


if __name__ == "__main__":
    interruptible(main)
