"""The embedded stack: servers ended while they start, a killed demo beside it, and files that a full disk has torn."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from playlake.lake.store import Store
from playlake.settings import Settings, load_settings
from playlake.stack import EmbeddedStack, mending, ports
from playlake.stack.servers import KAFKA_LOG_BUCKET
from playlake.stack.state import State
from tests.support.commands import Cli, end
from tests.support.lakes import assert_whole, parquet_files
from tests.support.waiting import pause, wait_for


@pytest.mark.parametrize("name", ["api", "dashboard"])
def test_a_server_that_is_ended_while_it_starts_says_nothing_of_it(tmp_path: Path, name: str) -> None:
    for moment in (0.0, 0.02, 0.04, 0.1, 0.5, 1.0):  # seconds; Python itself begins, then the library is imported
        process = Cli(tmp_path / "home").start("serve", name, "--json")
        assert process.stdout
        process.stdout.readline()
        pause(moment)
        done = end(process)
        assert (done.code, "Abort" in done.err) == (130, False), done.err


def test_the_demo_leaves_servers_alone_that_it_did_not_start(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home")
    cli("up")
    pids = [cli.pid(n) for n in ("store", "broker", "cache")]
    cli("demo", "--no-serve", "--plays", "500", "--listeners", "5")
    assert [cli.pid(n) for n in ("store", "broker", "cache")] == pids
    assert cli.json("status")["servers"][0]["state"] == "running"
    assert len(cli.processes()) == 3
    demo = cli.start("demo", "--plays", "500", "--listeners", "5")
    assert demo.stderr is not None
    for line in demo.stderr:
        if line.startswith("serving at"):
            break
    demo.kill()
    demo.communicate()
    cli("demo", "--no-serve", "--plays", "500", "--listeners", "5")
    assert [cli.pid(n) for n in ("store", "broker", "cache")] == pids, "nor does one that follows a killed one"
    assert len(cli.processes()) == 3
    cli("down")


def landed_rows(cli: Cli) -> int:
    """Land all there is, and count what the verifier then finds in bronze."""
    cli("land", "--until-idle")
    return sum(p["in_bronze"] for p in assert_whole(cli)["partitions"])


def test_a_torn_index_of_the_store_is_mended_before_it_starts(cli: Cli) -> None:
    """What a full disk leaves: an index whose last entry is half written, which SeaweedFS refuses with its volume."""
    before = landed_rows(cli)
    sent = cli.json("simulate", "--plays", "600", "--listeners", "5")["produced"]
    cli("land", "--until-idle")
    sent += cli.json("simulate", "--plays", "600", "--listeners", "5", "--seed", "8")["produced"]
    cli("down")
    store = cli.home / "data" / "store"
    torn = [p for p in store.glob("playlake*.idx") if p.stat().st_size]
    assert len(torn) > 3
    for index in torn:
        os.truncate(index, index.stat().st_size - 4)
    assert set(mending.torn_indexes(store)) == set(torn)
    repaired = cli.json("up")["repaired"]
    assert {f"index of {p.stem}" for p in torn} <= set(repaired)
    assert landed_rows(cli) == before + sent


def test_a_part_of_the_log_that_can_not_be_read_is_an_error_and_not_its_end(cli: Cli) -> None:
    before = landed_rows(cli)
    sent = cli.json("simulate", "--plays", "300", "--listeners", "5")["produced"]
    log = Store(cli.settings().model_copy(update={"s3_bucket": KAFKA_LOG_BUCKET}))
    path = "clusters/playlake/topics/user_plays/partitions/0000000001/watermark.json"
    whole = log.read(path)
    log.write(path, b"{")
    cli("down")
    cli("up")
    landed = cli("land", "--until-idle", check=1)
    assert "does not answer (no data of " in landed.err
    verified = cli("lake", "verify", check=1)
    assert "does not answer (no data of user_plays/1)" in verified.err
    assert "Traceback" not in landed.err + verified.err
    log.write(path, whole)
    assert landed_rows(cli) == before + sent


def test_a_lost_state_file_is_repaired(cli: Cli) -> None:
    before = cli.state()["ports"]
    (cli.home / "run" / "stack.json").write_text("{ not json")
    up = cli.json("up")
    assert up["started"] == ["store", "broker", "cache"]
    assert any("leftover" in r for r in up["repaired"])
    assert len(cli.processes()) == 3
    after = cli.state()["ports"]
    left = [
        p for p in Path("/tmp").glob("seaweedfs-*-grpc-*.sock") if int(p.stem.rpartition("-")[2]) in before.values()
    ]
    assert [p for p in left if int(p.stem.rpartition("-")[2]) not in after.values()] == []
    assert_whole(cli, pending=None)


def test_servers_that_begin_together_have_an_address_each(tmp_path: Path) -> None:
    """Each tells its address seconds before it listens there: both chose 8000, and one spoke for the other."""
    started = [Cli(tmp_path / str(n)).start("serve", name, "--json") for n, name in enumerate(["api", "dashboard"] * 2)]
    try:
        urls = [json.loads(process.stdout.readline())["url"] for process in started if process.stdout]
        assert len(set(urls)) == 4
        held = [(int(url.rpartition(":")[2]), process.pid) for url, process in zip(urls, started, strict=True)]
        wait_for(lambda: all(ports.held_by(port, pid) for port, pid in held))
    finally:
        for process in started:
            end(process)


@pytest.mark.parametrize("key", ["s3", "broker", "cache"])
def test_a_port_that_another_stack_takes_in_the_last_moment(
    key: str, tmp_path: Path, stack_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two stacks that start at once may choose the same port; the other's answer is not one's own."""
    theirs = EmbeddedStack(stack_settings).home.load().ports[key]
    stack = EmbeddedStack(load_settings(_env_file=None, home=tmp_path / "home", min_free_mb=0))
    choose = stack._choose_ports

    def chosen_too_early(state: State, missing: list[str]) -> None:
        monkeypatch.setattr(stack, "_choose_ports", choose)
        choose(state, missing)
        state.ports[key] = theirs

    monkeypatch.setattr(stack, "_choose_ports", chosen_too_early)
    try:
        stack.up()
        rows = stack.status()
        assert [row["state"] for row in rows] == ["running"] * 3
        ours = [int(str(row["address"]).rpartition(":")[2]) for row in rows]
        assert theirs not in ours
        assert all(ports.held_by(port, int(row["pid"])) for port, row in zip(ours, rows, strict=True))
    finally:
        stack.down()


def test_a_missing_file_of_the_lake_is_named_by_verify_to_which_build_points(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home")
    cli("up")
    cli.json("simulate", "--plays", "300", "--listeners", "3")
    cli("land", "--until-idle")
    filesystem, files = parquet_files(cli, "bronze/plays")
    filesystem.rm_file(files[0])
    done = cli("build", check=1)
    assert "lake verify" in done.err
    assert "bug" not in done.err
    report = cli("lake", "verify", "--json", check=1).json
    assert report["unreadable"] == 1
    assert report["lost"] > 0
    assert files[0].rpartition("/")[2] in report["findings"][0]["path"]
    cli("down")
