"""Processes that outlive the command which started them: recorded, recognised and stopped by what they are.

A process is known by its id and its start time together, so a record never points at somebody else's process after a
reboot. Each also carries its home folder in its environment, by which leftovers without a record are found.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from playlake.errors import PlaylakeError

MARK = "_PLAYLAKE_RUN_HOME"
"""Environment variable that marks our processes with their home folder."""


_started: list[subprocess.Popen[bytes]] = []
"""What this process started. It may outlive us, on purpose; kept so that Python does not take it for forgotten."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A process as written to the state file."""

    name: str
    pid: int
    created: float

    @classmethod
    def of(cls, name: str, pid: int) -> Recorded:
        """Record a running process."""
        return cls(name, pid, psutil.Process(pid).create_time())

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Recorded:
        """From the state file."""
        return cls(str(data["name"]), int(data["pid"]), float(data["created"]))

    def dump(self) -> dict[str, Any]:
        """For the state file."""
        return asdict(self)

    def process(self) -> psutil.Process | None:
        """The process, if it still runs and is the one recorded."""
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.created) < 1.0
            return found if same and _lives(found) else None
        except psutil.Error:
            return None


def tail(path: Path, lines: int = 8) -> str:
    """The last lines of a log, for a message."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 8192))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return "  (no log)"
    return "\n".join(f"  {line[:300]}" for line in text.strip().splitlines()[-lines:])


def start(
    name: str,
    command: Sequence[str],
    *,
    home: Path,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that Ctrl-C in this terminal reaches us and not it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output, (stdin or Path(os.devnull)).open("rb") as given:
        try:
            child = subprocess.Popen(
                list(command),
                stdin=given,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=cwd or home,
                env={**os.environ, **(env or {}), MARK: str(home)},
            )
            _started.append(child)
            return child
        except OSError as error:
            raise PlaylakeError(
                f"{name} can't be started: {error}. `playlake doctor` checks the installation."
            ) from error


def wait_ready(
    name: str, child: subprocess.Popen[bytes], ready: Callable[[], bool], *, log: Path, timeout_s: float
) -> None:
    """Wait until a server answers.

    :raises PlaylakeError: when it ends or stays silent, with the last lines of its log.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        code = child.poll()
        if code is not None:
            raise PlaylakeError(f"{name} did not start: it ended with code {code}. The end of {log}:\n{tail(log)}")
        if ready():
            return
        if time.monotonic() > deadline:
            raise PlaylakeError(
                f"{name} did not start: no answer after {timeout_s:.0f} s. The end of {log}:\n{tail(log)}"
            )
        time.sleep(0.05)


def stop(processes: Sequence[psutil.Process], *, timeout_s: float = 15.0) -> None:
    """Ask processes to end, with all they started, and end those that do not."""
    family = list(processes)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            family += process.children(recursive=True)
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    alive = _wait(family, timeout_s)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    _wait(alive, 5)
    _started[:] = [child for child in _started if child.poll() is None]


def _wait(processes: Sequence[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait for processes to end; returns those that have not. One that nobody has reaped yet has ended all the same."""
    deadline = time.monotonic() + timeout_s
    while alive := [p for p in processes if _lives(p)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return alive


def _lives(process: psutil.Process) -> bool:
    try:
        # The first thread of a killed process may have ended while others still hold its files and ports.
        return process.is_running() and (process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1)
    except psutil.Error:
        return False


def leftovers(home: Path, known: Sequence[int]) -> list[psutil.Process]:
    """Processes of this home that no record names: what a killed command or a lost state file leaves behind."""
    found = []
    for process in psutil.process_iter():
        if process.pid in known or process.pid == os.getpid():
            continue
        try:
            # Only ours: a process of another user can't be read and is none of ours.
            if process.environ().get(MARK) == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found
