"""`playlake refresh` and a writer through an outage of the store: both go on by themselves, and end with code 0."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

from playlake import quality
from playlake.lake import tables
from playlake.warehouse.build import folder
from playlake.warehouse.publish import current
from tests.support.commands import Cli, end
from tests.support.exports import age, make_export
from tests.support.lakes import assert_whole, plays_of
from tests.support.waiting import pause, wait_for


def all_landed(cli: Cli) -> None:
    """Wait until the lag is 0; a whole `lake verify` each time takes a core for seconds."""
    wait_for(lambda: quality.pending(cli.settings()).total == 0, every=1)


def test_refresh_goes_on_through_an_outage_of_the_store(cli: Cli, tmp_path: Path) -> None:
    box, heart, said = tmp_path / "inbox", tmp_path / "heart", tmp_path / "said"
    cli = Cli(cli.home, inbox=box, listener="outage", heartbeat=heart, flush_seconds=1)
    with said.open("w") as err:  # each failed build says more than a pipe holds
        keeper = cli.start("refresh", "--every", "1s", "--json", err=err.fileno())

    def imported(name: str) -> bool:
        assert keeper.poll() is None, said.read_text()[-2000:]
        return (box / f"{name}.receipt.json").exists()

    writer = cli.start("land")
    wait_for(heart.exists)
    age(make_export(box / "export", 200))
    wait_for(lambda: imported("export"))
    # The writer is at work: one that finds no store at its start says so and ends.
    all_landed(cli)
    assert_whole(cli, pending=None)
    cli.kill("store")
    pause(3)
    cli("up")
    age(make_export(box / "more", 200, seed=3))
    wait_for(lambda: imported("more"))
    all_landed(cli)
    assert_whole(cli, pending=None)
    stopped = end(writer, signal.SIGTERM)
    assert stopped.code == 0, stopped.err
    lake = tables.snapshot(cli.settings())
    wait_for(lambda: (build := current(folder(cli.settings()))) and build.lake_versions == lake)
    refused = sum(json.loads((box / f"{n}.receipt.json").read_text())["refused"] for n in ("export", "more"))
    assert plays_of(cli, "outage") == 400 - refused
    assert time.time() - heart.stat().st_mtime < 30
    ended = end(keeper, signal.SIGTERM)
    assert ended.code == 0, said.read_text()[-2000:]
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert [line["imported"]["name"] for line in lines if "imported" in line] == ["export", "more"]
    assert any("built" in line for line in lines)
    assert_whole(cli, pending=None)
