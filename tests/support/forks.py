"""Commands of playlake that start in a tenth of a second; see :mod:`tests.forkserver`."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

SERVER = Path(__file__).with_name("forkserver.py")


class Fork:
    """A process, used as one of :mod:`subprocess`."""

    def __init__(self, nursery: Nursery, number: int, pid: int) -> None:
        self._nursery, self._number = nursery, number
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code (negative: the signal), None while it lives."""
        if self.returncode is None:
            self.returncode = self._nursery.ask(do="poll", child=self._number)
        return self.returncode

    def wait(self, timeout: float = 30.0) -> int:
        """The exit code.

        :raises subprocess.TimeoutExpired: when it lives on for so many seconds.
        """
        if self.poll() is None:
            handle = os.pidfd_open(self.pid)  # not gone before the nursery was asked for its code
            try:
                select.select([handle], [], [], timeout)
            finally:
                os.close(handle)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
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
            self.returncode = self._nursery.ask(do="signal", child=self._number, number=int(number))

    def kill(self) -> None:
        """kill -9."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)


class Nursery:
    """The process that has imported all and forks; which any thread may ask.

    :param env: its environment.
    :param cwd: its working folder, and that of the commands.
    """

    def __init__(self, env: Mapping[str, str], cwd: Path) -> None:
        self.env, self.cwd = dict(env), cwd
        self._lock = threading.Lock()
        self._asked = 0
        self._process = subprocess.Popen(
            [sys.executable, str(SERVER)],
            env=self.env,
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End it, and all that it has started."""
        with self._process:  # closes its input
            pass

    def start(
        self,
        *arguments: str,
        out: Path,
        err: Path | None = None,
        env: Mapping[str, str],
        cwd: Path | None = None,
        group: str = "",
    ) -> Fork:
        """Run a command of playlake.

        :param out: the file of its standard output, and of its standard error where ``err`` names no other.
        :param env: all of its environment.
        :param group: the consumer group of `land`, where it is to be another than its own.
        """
        files = {"out": str(out), "err": str(err or out), "cwd": str(cwd or self.cwd)}
        return Fork(self, *self.ask(do="start", arguments=arguments, env=dict(env), group=group, **files))

    def ask(self, **question: Any) -> Any:
        """One question and its answer; who was interrupted while it waited for one leaves it for the next to skip."""
        assert self._process.stdin
        assert self._process.stdout
        with self._lock:
            self._asked += 1
            self._process.stdin.write(json.dumps({"asked": self._asked, **question}) + "\n")
            self._process.stdin.flush()
            while True:
                number, answer = json.loads(self._process.stdout.readline())
                if number == self._asked:
                    return answer
