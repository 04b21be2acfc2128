"""Processes of playlake that start in a tenth of a second; see :mod:`tests.chaos.programs`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

PROGRAMS = Path(__file__).with_name("programs.py")


class Fork:
    """A process, used as one of :mod:`subprocess`."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code (negative: the signal), None while it lives."""
        if self.returncode is None:
            self.returncode = self._nursery.ask(do="poll", pid=self.pid)
        return self.returncode

    def wait(self, timeout: float = 30.0) -> int:
        """The exit code.

        :raises subprocess.TimeoutExpired: when it lives on for so many seconds.
        """
        until = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.02)
        return code

    @property
    def stopped(self) -> bool:
        """Whether it is frozen."""
        try:
            return self.poll() is None and psutil.Process(self.pid).status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return False

    def send_signal(self, number: signal.Signals) -> None:
        """Nothing where it has ended."""
        if self.poll() is None:
            self.returncode = self._nursery.ask(do="signal", pid=self.pid, number=int(number))

    def kill(self) -> None:
        """kill -9."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)


class Nursery:
    """The process that has imported all and forks; which any thread may ask.

    :param env: environment of all processes.
    """

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self._env = dict(env)
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAMS), "serve"],
            env=self._env,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End it, and all that it has started."""
        with self._process:  # closes its input
            pass

    def start(self, *arguments: str, log: Path, env: Mapping[str, str], group: str = "") -> Fork:
        """Run a command of playlake; ``env`` beside that of all."""
        return Fork(
            self,
            self.ask(do="start", arguments=arguments, log=str(log), env={**self._env, **env}, group=group),
        )

    def ask(self, **question: Any) -> Any:
        """One question and its answer."""
        assert self._process.stdin
        assert self._process.stdout
        with self._lock:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())
