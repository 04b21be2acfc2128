"""`playlake status` says what waits to land, and stays quick when nobody can tell."""

from __future__ import annotations

import signal
import time

import psutil
import pytest

from tests.support.commands import Cli
from tests.support.waiting import wait_for


@pytest.mark.parametrize("name", ["store", "broker"])
def test_a_server_that_is_gone_makes_it_unknown(cli: Cli, name: str) -> None:
    cli.kill(name)
    found = cli.json("status", check=1)
    assert (found["lag"], found["lag_problem"]) == (None, "broker or store does not run")
    assert "Waiting to land: unknown (broker or store does not run)." in cli("status", check=1).out
    cli("up")
    assert wait_for(lambda: cli.json("status")["lag"])["pending"] == 0


def test_a_server_that_hangs_keeps_nobody_waiting(cli: Cli) -> None:
    store = psutil.Process(cli.pid("store"))
    store.send_signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        assert cli.json("status", check=None)["lag"] is None
        assert time.monotonic() - started < 30
    finally:
        store.send_signal(signal.SIGCONT)
