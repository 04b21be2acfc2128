"""Servers that are away or hang, and a full disk: said in one clear line, and nothing acknowledged is lost."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.support.commands import Cli
from tests.support.exports import make_export
from tests.support.lakes import assert_whole, bronze_ids
from tests.support.waiting import wait_for


def test_a_broker_that_is_down_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home")
    for command in (("simulate",), ("land", "--until-idle"), ("lake", "verify"), ("build",)):
        assert "playlake up" in cli(*command, check=1).err
    cli("up")
    cli.json("simulate", "--plays", "300", "--listeners", "3")
    cli.kill("broker")
    export = make_export(tmp_path / "export", 100)
    for command in (("simulate",), ("import", str(export)), ("land", "--until-idle"), ("lake", "verify")):
        done = cli(*command, check=1)
        assert "does not answer" in done.err
        assert "playlake up" in done.err
    cli("up")
    cli("land", "--until-idle")
    assert_whole(cli)
    assert len(bronze_ids(cli)) == 300
    cli("down")


def test_a_full_disk_is_said_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40M", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root; the CI's machine has it")
    cli = Cli(small / "home")
    try:
        refused = Cli(small / "home", min_free_mb=512)("up", check=1)
        assert "Too little disk" in refused.err
        cli("up")
        acknowledged = cli.json("simulate", "--plays", "500", "--listeners", "5", "--seed", "1")["produced"]
        ballast = small / "ballast"
        ballast.write_bytes(bytes(max(0, shutil.disk_usage(small).free - 3 * 2**20)))
        done = cli("simulate", "--json", "--seed", "2", check=None)
        assert done.code == 1, "the disk never became full"
        lines = [line for line in done.err.splitlines() if line.startswith(("playlake: ", "The disk of"))]
        assert len(lines) == 2
        assert "is full" in lines[1]
        ballast.unlink()
        subprocess.run(["mount", "-o", "remount,size=400M", str(small)], check=True)
        cli("down")
        cli("up")
        cli("land", "--until-idle")
        report = assert_whole(cli)
        assert sum(p["in_bronze"] for p in report["partitions"]) >= acknowledged
        assert cli.json("build")["silver"]["silver_plays"] > 500
    finally:
        cli("down")
        subprocess.run(["umount", "-l", str(small)], check=True)


@pytest.mark.parametrize("name", ["store", "broker"])
def test_without_a_server_the_lag_is_unknown(cli: Cli, name: str) -> None:
    cli.kill(name)
    found = cli.json("status", check=1)
    assert (found["lag"], found["lag_problem"]) == (None, "broker or store does not run")
    assert "Waiting to land: unknown (broker or store does not run)." in cli("status", check=1).out
    cli("up")
    assert wait_for(lambda: cli.json("status")["lag"])["pending"] == 0


def test_status_does_not_wait_for_a_server_that_hangs(cli: Cli) -> None:
    store = psutil.Process(cli.pid("store"))
    store.send_signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        assert cli.json("status", check=None)["lag"] is None
        assert time.monotonic() - started < 30
    finally:
        store.send_signal(signal.SIGCONT)
