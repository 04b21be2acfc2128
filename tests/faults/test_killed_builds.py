"""A build whose process is killed: nothing of it runs on."""

from __future__ import annotations

import psutil

from tests.support.commands import Cli
from tests.support.waiting import wait_for


def dbt_of(build: psutil.Process) -> list[psutil.Process]:
    """The dbt that a build runs, if it does by now."""
    return [p for p in build.children(recursive=True) if any("dbt" in part for part in p.cmdline())]


def lives(process: psutil.Process) -> bool:
    """Whether it runs; nobody may be there to wait for it."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_dbt_ends_with_the_build_that_runs_it(cli: Cli) -> None:
    """Else it would hold the warehouse's file from the next build, for minutes on a busy machine."""
    cli("simulate", "--plays", "200", "--listeners", "3")
    cli("land", "--until-idle")
    with cli.start("build") as build:
        wait_for(lambda: dbt_of(psutil.Process(build.pid)), 120)
        (dbt,) = dbt_of(psutil.Process(build.pid))
        dbt.suspend()
        build.kill()
        build.wait()
        dbt.resume()
    wait_for(lambda: not lives(dbt), 120)
    assert not (cli.home / "warehouse" / "target" / "run_results.json").exists(), "dbt went on to its end"
    assert cli.json("build")["silver"]["silver_plays"] == 200
