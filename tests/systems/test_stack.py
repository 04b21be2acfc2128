"""The embedded stack: up, down, ports, repair, and clear words when something is in the way."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import psutil
import pytest

from playlake.settings import Settings, load_settings
from playlake.stack import EmbeddedStack, ports
from playlake.stack.state import Home, State
from tests.support.commands import Cli, end
from tests.support.exports import make_export
from tests.support.lakes import assert_whole, bronze_ids, parquet_files
from tests.support.waiting import wait_for


def test_up_again_is_a_no_op_and_ports_are_remembered(cli: Cli) -> None:
    pids = [cli.pid(n) for n in ("store", "broker", "cache")]
    again = cli.json("up")
    assert (again["started"], again["repaired"]) == ([], [])
    assert [cli.pid(n) for n in ("store", "broker", "cache")] == pids
    addresses = {s["name"]: s["address"] for s in again["servers"]}
    cli("down")
    assert cli.processes() == []
    with cli.start("up", "--json") as process:  # through pipes, which the servers must not hold open
        out, _ = process.communicate(timeout=60)
    assert {s["name"]: s["address"] for s in json.loads(out)["servers"]} == addresses


def test_everything_listens_on_loopback_only(cli: Cli) -> None:
    family = [p for n in ("store", "broker", "cache") for p in [psutil.Process(cli.pid(n))]]
    listening = [c.laddr.ip for p in family for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert len(listening) >= 3
    assert set(listening) == {"127.0.0.1"}


def test_keys_are_private_and_not_on_a_command_line_or_in_a_log(cli: Cli) -> None:
    run = cli.home / "run"
    keys = json.loads((run / "secrets.json").read_text())
    for path in (run / "secrets.json", run / "s3.json", run / "valkey.conf"):
        assert path.stat().st_mode & 0o077 == 0, path
    commands = [" ".join(psutil.Process(cli.pid(n)).cmdline()) for n in ("store", "broker", "cache")]
    logs = [p.read_text("utf-8", "replace") for p in (cli.home / "logs").rglob("*") if p.is_file()]
    for secret in (keys["s3_secret_key"], keys["redis_password"]):
        assert not any(secret in text for text in [*commands, *logs])


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


def test_other_ports_do_not_disturb_the_data(cli: Cli) -> None:
    cli.json("simulate", "--plays", "300", "--listeners", "3")
    cli("land", "--until-idle")
    rows = len(bronze_ids(cli))
    assert rows >= 300
    cli("down")
    state = cli.state()
    with socket.socket() as taken:  # the remembered S3 port now belongs to somebody else
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", state["ports"]["s3"]))
        taken.listen()
        cli("up")
        now = cli.state()
        assert now["ports"]["s3"] != state["ports"]["s3"]
        assert len(bronze_ids(cli)) == rows
        assert_whole(cli, pending=None)
        cli("down")
    cli("up")


def test_a_server_that_does_not_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home")
    (tmp_path / "home" / "data").mkdir(parents=True)
    (tmp_path / "home" / "data" / "store").write_text("a file where a folder must be")
    done = cli("up", check=1)
    assert "store" in done.err
    assert cli.processes() == []


def test_a_port_that_is_taken_is_named_with_the_setting(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = Cli(tmp_path / "home", s3_port=port)("up", check=1)
        assert f"Port {port} is taken" in done.err
        assert "PLAYLAKE_S3_PORT" in done.err
        done = Cli(tmp_path / "home", api_port=port)("serve", "api", check=1)
        assert f"Port {port} is taken" in done.err
        assert "PLAYLAKE_API_PORT" in done.err
        done = Cli(tmp_path / "home", dashboard_port=port)("demo", check=1)
        assert "PLAYLAKE_DASHBOARD_PORT" in done.err
        assert "starting" not in done.err, "it is told before anything is started"


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


def test_fixed_ports_are_used(tmp_path: Path) -> None:
    s3, kafka, redis = ports.choose(3)
    cli = Cli(tmp_path / "home", s3_port=s3, broker_port=kafka, redis_port=redis)
    servers = {s["name"]: s["address"] for s in cli.json("up")["servers"]}
    cli("down")
    assert servers == {"store": f"127.0.0.1:{s3}", "broker": f"127.0.0.1:{kafka}", "cache": f"127.0.0.1:{redis}"}


def test_two_demos_on_one_home_do_not_meet(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home")
    first = cli.start("demo", "--plays", "500", "--listeners", "5", "--json")
    wait_for(
        lambda: (cli.home / "run" / "stack.json").is_file() and "demo" in (cli.home / "run" / "stack.json").read_text()
    )
    done = cli("demo", "--no-serve", check=1)
    assert "Another demo" in done.err
    assert first.stdout is not None
    assert json.loads(first.stdout.readline())["silver"] > 0
    assert end(first).code == 0
    assert cli.processes() == []


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


def test_a_demo_on_a_lake_of_both_kinds_says_so_and_clears_up(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home")
    first = cli("demo", "--no-serve", "--plays", "300", "--listeners", "3")
    assert "beside" not in first.err
    assert first.out.count("(stopped again)") == 2
    assert not Home(cli.home.resolve()).sockets.exists()
    export = make_export(tmp_path / "export", 200)
    both = cli("demo", "--no-serve", "--history", str(export), "--json")
    assert both.json["sources"]["simulator"] == 300
    assert both.json["sources"]["export_account"] == both.json["produced"] > 150
    assert f"300 simulated plays beside {both.json['produced']} real ones" in both.err
    assert "PLAYLAKE_HOME=" in both.err


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


def landed_rows(cli: Cli) -> int:
    """Land all there is, and count what the verifier then finds in bronze."""
    cli("land", "--until-idle")
    return sum(p["in_bronze"] for p in assert_whole(cli)["partitions"])
