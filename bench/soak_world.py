"""What runs all along in a soak, what is killed of it, and how much memory and disk it takes."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import psutil

from bench.measure import pss_of, say
from playlake.stack.servers import SERVERS
from tests.support.commands import Cli

_MEANT = (-9, -15, 0, 1, 143)
"""Codes of an end: killed, asked, or with the word that broker or store is away."""
VICTIMS = ("writer", "broker", "store", "cache", "api")


class Kept:
    """A process that is started again when it has ended, as a supervisor does it.

    :param command: after the interpreter.
    """

    def __init__(self, name: str, command: list[str], env: dict[str, str], log: Path) -> None:
        self.name = name
        self._command, self._env, self._log = command, env, log
        self._wanted = True
        self.codes: list[int] = []
        """With which it has ended."""
        self.process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        while self._wanted:
            with self._log.open("ab") as log:
                self.process = subprocess.Popen([sys.executable, *self._command], env=self._env, stdout=log, stderr=log)
            self.codes.append(self.process.wait())
            time.sleep(0.5)

    @property
    def pid(self) -> int | None:
        """Of the process that lives now."""
        process = self.process
        return process.pid if process and process.poll() is None else None

    def complaints(self) -> list[str]:
        """What of its ends and its words nobody has meant."""
        odd = sorted({code for code in self.codes if code not in _MEANT})
        said = self._log.read_text(errors="replace") if self._log.exists() else ""
        found = [f"{self.name} ended with code {code}" for code in odd]
        return found + [f"{self.name}'s log has {word!r}" for word in ("Traceback", "This is a bug") if word in said]

    def kill(self) -> bool:
        """kill -9; whether there was one."""
        process = self.process
        if process is None or process.poll() is not None:
            return False
        process.kill()
        return True

    def stop(self) -> int | None:
        """SIGTERM, and the exit code; it is not started again."""
        self._wanted = False
        process = self.process
        if process is None:
            return None
        process.terminate()
        try:
            return process.wait(180)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


class Killer(threading.Thread):
    """Kills one after the other, at moments drawn from the seed; servers are started again by `playlake up`."""

    def __init__(self, cli: Cli, kept: dict[str, Kept], seed: int, every_s: float) -> None:
        super().__init__(daemon=True)
        self._cli, self._kept = cli, kept
        self._rng = random.Random(seed)
        self._every_s = every_s
        self._stopped = threading.Event()
        self.kills: Counter[str] = Counter()
        self.error: BaseException | None = None

    def run(self) -> None:
        """Kill until stopped."""
        try:
            deck: list[str] = []
            while not self._stopped.wait(self._rng.uniform(0.4, 1.6) * self._every_s):
                if not deck:
                    deck = list(VICTIMS)
                    self._rng.shuffle(deck)
                self._strike(deck.pop())
        except BaseException as error:  # noqa: BLE001 - raised by stop()
            self.error = error

    def _strike(self, name: str) -> None:
        if name in self._kept:
            self.kills[name] += self._kept[name].kill()
            return
        self._cli.kill(name)
        self.kills[name] += 1
        time.sleep(self._rng.uniform(0, 2))
        self._cli.json("up")

    def stop(self) -> None:
        """End, with everything running.

        :raises BaseException: what went wrong at bringing a server back.
        """
        self._stopped.set()
        self.join()
        if self.error:
            raise self.error


class Watch(threading.Thread):
    """Memory of what runs all along: the most of each name since the last look, in MiB."""

    def __init__(self, cli: Cli, kept: dict[str, Kept]) -> None:
        super().__init__(daemon=True)
        self._cli, self._kept = cli, kept
        self._most: dict[str, float] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def run(self) -> None:
        """Look every second until stopped."""
        while not self._stopped.wait(1.0):
            for name, pid in self._pids().items():
                try:
                    pss = pss_of(psutil.Process(pid))
                except psutil.Error:
                    continue
                with self._lock:
                    self._most[name] = max(pss, self._most.get(name, 0.0))

    def _pids(self) -> dict[str, int]:
        found = {name: pid for name, one in self._kept.items() if (pid := one.pid)}
        try:
            processes = self._cli.state()["processes"]
        except (OSError, ValueError):
            return found
        return found | {name: int(processes[name]["pid"]) for name in SERVERS if name in processes}

    def take(self) -> dict[str, float]:
        """What was seen since the last time."""
        with self._lock:
            most, self._most = self._most, {}
        return most

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        self.join()


class Dag:
    """The commands of the DAGs as the DAGs run them: three more tries, and what fails for good fails its run only."""

    def __init__(self, cli: Cli, retry_s: float = 5.0) -> None:
        self._cli = cli
        self._retry_s = retry_s
        self.retries: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        """By command, the time that it took in all."""

    def __call__(self, *arguments: str, accept: tuple[int, ...] = (0,)) -> Any:
        """A command's one object.

        :raises FailedError: when the last try failed too.
        """
        name = " ".join(a for a in arguments if not a.startswith("{"))[:40].split(" --of")[0]
        for tries in range(4):
            started = time.monotonic()
            done = self._cli(*arguments, "--json", check=None)
            self.seconds[name] += time.monotonic() - started
            if done.code in accept and done.out.strip():
                found = done.json
                if "error" not in found:
                    return found
            if done.code == 2:
                raise AssertionError(f"playlake {name} was used wrongly: {done.err}")
            if tries < 3:
                self.retries[name] += 1
                time.sleep(self._retry_s)
        self.failed[name] += 1
        say(f"playlake {name} failed: {done.err[-300:]}")
        raise FailedError(name)


class FailedError(Exception):
    """A run of a DAG has failed; the next hour's goes on."""


def sizes(home: Path) -> dict[str, float]:
    """Bytes on disk below the home, in MiB, by what they are."""
    folders = {"store (lake and Kafka's log)": home / "data" / "store", "warehouse": home / "warehouse"}
    found = {name: _size(path) for name, path in folders.items()}
    found["all"] = _size(home)
    return found


def _size(path: Path) -> float:
    total = 0
    for file in path.rglob("*"):
        try:
            total += file.stat().st_blocks * 512 if file.is_file() else 0
        except OSError:
            continue  # gone meanwhile
    return total / 2**20
