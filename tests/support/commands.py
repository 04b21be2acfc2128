"""Running ``playlake``: in this process, or as a process where the process itself is the subject of a test."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import psutil
from typer.testing import CliRunner

from playlake import log
from playlake.settings import PREFIX, load_settings
from playlake.stack import attach
from playlake.stack.process import leftovers

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on standard output."""
        return json.loads(self.out)


class Cli:
    """``playlake`` on a home of its own.

    :param settings: settings by name, given to the commands as environment variables.
    """

    started: ClassVar[list[subprocess.Popen[str]]] = []
    """Processes that tests have started; the fixture ``no_command_left`` ends them."""

    def __init__(self, home: Path, **settings: object) -> None:
        self.home = home
        settings = {"min_free_mb": 0, **settings}
        clean = {n: v for n, v in os.environ.items() if not n.startswith((PREFIX, "SNOWFLAKE_"))}
        self.env = {**clean, f"{PREFIX}HOME": str(home)} | {f"{PREFIX}{n.upper()}": str(v) for n, v in settings.items()}

    def with_settings(self, **settings: object) -> Cli:
        """The same command with other settings."""
        made = type(self)(self.home)
        made.env = self.env | {f"{PREFIX}{n.upper()}": str(v) for n, v in settings.items()}
        return made

    def __call__(self, *args: str, check: int | None = 0) -> Done:
        """Run a command in this process; ``check`` is the exit code it must have."""
        with _as_if_alone(), CliRunner().isolation() as (out, err, _), _environment(self.env, self.home.parent):
            sys.argv = ["playlake", *args]
            try:
                importlib.import_module("playlake.cli.main").main()
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
            sys.stdout.flush()
            sys.stderr.flush()
            done = Done(code, out.getvalue().decode(errors="surrogateescape"), err.getvalue().decode())
        return _checked(args, done, check)

    def run(self, *args: str, check: int | None = 0) -> Done:
        """Run a command to its end, in a process of its own, which may take twenty minutes."""
        out, err = (process := self.start(*args)).communicate(timeout=1200)
        self.started.remove(process)
        return _checked(args, Done(process.returncode, out, err), check)

    def start(self, *args: str, err: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start a command in a process of its own.

        :param err: where its standard error goes: a pipe that nobody reads stops it after 64 KiB.
        """
        process = subprocess.Popen(
            [sys.executable, "-m", "playlake", *args],
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
            env=self.env,
            cwd=self.home.parent,
        )
        self.started.append(process)
        return process

    def json(self, *args: str, **kwargs: Any) -> Any:
        """Run a command with ``--json`` in this process."""
        return self(*args, "--json", **kwargs).json

    def settings(self) -> Any:
        """Settings with the addresses of the running stack, for clients of the test's own."""
        mine: dict[str, Any] = {n.removeprefix(PREFIX).lower(): v for n, v in self.env.items() if n.startswith(PREFIX)}
        return attach(load_settings(_env_file=None, **mine))

    def pid(self, name: str) -> int:
        """Process id of one of the servers."""
        return int(self.state()["processes"][name]["pid"])

    def state(self) -> Any:
        """Content of the home's state file."""
        return json.loads((self.home / "run" / "stack.json").read_text())

    def kill(self, name: str) -> None:
        """kill -9 of one of the servers, waited for."""
        process = psutil.Process(self.pid(name))
        process.kill()
        process.wait(10)

    def processes(self) -> list[psutil.Process]:
        """Every process of this home that lives."""
        return leftovers(self.home.resolve(), [])


class ProcessCli(Cli):
    """The same, with a process of its own for every command: for threads, and for runs of hours."""

    def __call__(self, *args: str, check: int | None = 0) -> Done:
        """Run a command to its end."""
        return self.run(*args, check=check)


def stopped(process: subprocess.Popen[Any]) -> bool:
    """Whether a process that was started here is frozen (SIGSTOP)."""
    try:
        return process.poll() is None and psutil.Process(process.pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def end(process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT, timeout: float = 120) -> Done:
    """Signal a command and wait for its end."""
    process.send_signal(number)
    out, err = process.communicate(timeout=timeout)
    err = err or ""
    assert "Traceback" not in err, err
    return Done(process.returncode, out, err)


def lands(writer: subprocess.Popen[str]) -> bool:
    """Wait until a writer has landed something: it has partitions of its own."""
    assert writer.stderr is not None
    return any("rows landed" in line for line in writer.stderr)


def _checked(args: tuple[str, ...], done: Done, check: int | None) -> Done:
    assert "Traceback" not in done.err, done.err
    assert "This is a bug" not in done.err, done.err
    if check is not None:
        assert done.code == check, f"{args}: exit code {done.code}\n{done.out}\n{done.err}"
    return done


@contextmanager
def _environment(variables: dict[str, str], folder: Path) -> Iterator[None]:
    """The environment and working folder of a command.

    Only Python sees these variables. The process's own environment stays as it is: libc moves it when a variable is
    added, and a thread of a library that reads one at that moment can end the process by SIGSEGV.
    """
    where = Path.cwd()
    os.chdir(folder)
    try:
        with patch.object(os, "environ", dict(variables)):
            yield
    finally:
        os.chdir(where)


@contextmanager
def _as_if_alone() -> Iterator[None]:
    """What a command sets for its whole process is as before afterwards: signal handlers, arguments, logging."""
    handlers, arguments = [signal.getsignal(number) for number in _SIGNALS], sys.argv
    try:
        yield
    finally:
        sys.argv = arguments
        for number, handler in zip(_SIGNALS, handlers, strict=True):
            signal.signal(number, handler)
        log.configure("warning")
