"""The embedded stack: up, down, ports, repair, and clear words when something is in the way."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import psutil

from playlake.stack import ports
from playlake.stack.state import Home
from tests.support.commands import Cli, end
from tests.support.exports import make_export
from tests.support.lakes import assert_whole, bronze_ids
from tests.support.waiting import wait_for


def test_up_again_is_a_no_op_and_ports_are_remembered(cli: Cli) -> None:
    pids = [cli.pid(n) for n in ("store", "broker", "cache")]
    again = cli.json("up")
    assert (again["started"], again["repaired"]) == ([], [])
    assert [cli.pid(n) for n in ("store", "broker", "cache")] == pids
    addresses = {s["name"]: s["address"] for s in again["servers"]}
    cli("down")
    assert cli.processes() == []
    again = cli.run("up", "--json").json  # through pipes, which the servers must not hold open
    assert {s["name"]: s["address"] for s in again["servers"]} == addresses


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
    store = cli.home / "data" / "store"
    store.mkdir(parents=True)
    (store / "filerldb2").write_text("a file where a folder must be")
    done = cli("up", check=1)
    assert "The end of" in done.err
    assert "filerldb2" in done.err
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
        assert "starting" not in done.err, "the port is checked before anything is started"


def test_fixed_ports_are_used(tmp_path: Path) -> None:
    s3, kafka, redis = ports.choose(3)
    cli = Cli(tmp_path / "home", s3_port=s3, broker_port=kafka, redis_port=redis)
    servers = {s["name"]: s["address"] for s in cli.json("up")["servers"]}
    cli("down")
    assert servers == {"store": f"127.0.0.1:{s3}", "broker": f"127.0.0.1:{kafka}", "cache": f"127.0.0.1:{redis}"}


def test_one_demo_at_a_time_and_a_lake_of_both_kinds_is_named(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home")
    first = cli.start("demo", "--plays", "300", "--listeners", "3", "--json")
    state = cli.home / "run" / "stack.json"
    wait_for(lambda: state.is_file() and "demo" in state.read_text())
    assert "Another demo" in cli("demo", "--no-serve", check=1).err
    assert first.stdout is not None
    assert json.loads(first.stdout.readline())["silver"] > 0
    done = end(first)
    assert done.code == 0
    assert "beside" not in done.err
    assert cli.processes() == []
    export = make_export(tmp_path / "export", 200)
    both = cli("demo", "--no-serve", "--history", str(export))
    assert "300 simulated plays beside" in both.err
    assert "PLAYLAKE_HOME=" in both.err
    assert both.out.count("(stopped again)") == 2
    assert not Home(cli.home.resolve()).sockets.exists()
    assert cli.processes() == []
