"""Failpoints: a process dies or freezes where it is told to, and nowhere else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from playlake import failpoints
from tests.support.waiting import wait_for

CODE = "from playlake.failpoints import hit\nfor _ in range(3):\n    hit('a'); hit('b'); print('passed', flush=True)\n"


def start(value: str | None) -> subprocess.Popen[str]:
    env = {n: v for n, v in os.environ.items() if n != failpoints.VARIABLE}
    given = {} if value is None else {failpoints.VARIABLE: value}
    return subprocess.Popen([sys.executable, "-c", CODE], env={**env, **given}, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("value", "code", "passed"),
    [(None, 0, 3), ("c", 0, 3), ("a", -signal.SIGKILL, 0), ("b:3", -signal.SIGKILL, 2), ("b:4", 0, 3)],
)
def test_it_dies_at_the_pass_that_is_named(value: str | None, code: int, passed: int) -> None:
    with start(value) as process:
        out, _ = process.communicate(timeout=30)
    assert (process.returncode, out.count("passed")) == (code, passed)


def test_it_freezes_and_goes_on_when_it_is_told_to() -> None:
    with start("a:2:stop") as process:
        wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, 30)
        process.send_signal(signal.SIGCONT)
        out, _ = process.communicate(timeout=30)
    assert (process.returncode, out.count("passed")) == (0, 3)
