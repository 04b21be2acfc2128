"""kill -9 of servers, demo and build, and Ctrl-C in a query: nothing is lost, doubled or left running."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from tests.support.commands import Cli, end, lands
from tests.support.lakes import assert_whole
from tests.support.waiting import pause, wait_for


def test_each_server_killed_while_events_flow(cli: Cli) -> None:
    def landed() -> int:
        return sum(p["in_bronze"] for p in assert_whole(cli, pending=None)["partitions"])

    cli("simulate", "--plays", "10")
    writer = Cli(cli.home, flush_seconds=1).start("land", "--json")
    assert lands(writer), "one that finds no store at its start ends"
    before, acknowledged = landed(), 0
    for server in ("store", "broker", "cache"):
        feed = cli.start("simulate", "--rate", "100", "--for", "14s", "--json")
        assert feed.stderr is not None
        assert feed.stderr.readline() == "sending\n"
        pause(4)
        cli.kill(server)
        rows = cli.json("status", check=1)["servers"]
        assert server in [r["name"] for r in rows if r["state"] == "crashed"]
        assert server in cli.json("up")["started"]
        out, err = feed.communicate(timeout=120)
        assert feed.returncode == 0, err  # the feed waits for the broker
        acknowledged += json.loads(out)["produced"]
    done = end(writer, signal.SIGTERM, timeout=120)
    assert done.code == 0, done.err
    cli.json("land", "--until-idle")
    assert acknowledged > 1000
    assert landed() - before >= acknowledged


def test_a_demo_killed_in_its_middle_starts_clean_again(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home")
    for moment in ("starting broker", "land", "models and tests"):
        demo = cli.start("demo", "--no-serve", "--plays", "2000", "--listeners", "20")
        assert demo.stderr is not None
        for line in demo.stderr:
            if line.startswith(moment):
                break
        demo.kill()
        demo.communicate()
        assert cli.processes(), "its servers outlive a killed demo"
    again = cli.json("demo", "--no-serve", "--plays", "2000", "--listeners", "20")
    assert again["silver_by_model"]["silver_plays"] == 2000
    assert cli.processes() == [], "the killed demo's servers are stopped with the new one's"
    cli("up")
    assert_whole(cli)
    cli("down")


def test_a_feed_keeps_knocking_at_a_broker_that_is_away(cli: Cli) -> None:
    """The client's own patience doubles to half a minute, which would be added to every outage."""
    feed = cli.start("simulate", "--rate", "20", "--json")
    assert feed.stderr is not None
    assert feed.stderr.readline() == "sending\n"
    pause(2)
    cli.kill("broker")
    pause(14)  # doubled from 50 ms, the next attempt would be 11 s away
    with socket.create_server(("127.0.0.1", cli.state()["ports"]["broker"])) as server:
        server.settimeout(5)
        knocking, _ = server.accept()
        knocking.close()
    cli("up")
    done = end(feed, timeout=120)
    assert done.code == 0, done.err
    cli.json("land", "--until-idle")
    assert_whole(cli)


def dbt_of(build: int) -> list[psutil.Process]:
    """The dbt that a build runs, if it does by now."""
    return [p for p in psutil.Process(build).children(recursive=True) if any("dbt" in part for part in p.cmdline())]


def lives(process: psutil.Process) -> bool:
    """Whether it runs; nobody may be there to wait for it."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_dbt_ends_with_the_build_that_runs_it(own: Cli) -> None:
    """Else it would hold the warehouse's file from the next build, for minutes on a busy machine."""
    own("simulate", "--plays", "200", "--listeners", "3")
    own("land", "--until-idle")
    with own.start("build") as build:
        (dbt,) = wait_for(lambda: dbt_of(build.pid))
        dbt.suspend()
        build.kill()
        build.wait()
        dbt.resume()
    wait_for(lambda: not lives(dbt))
    assert not (own.home / "warehouse" / "target" / "run_results.json").exists(), "dbt went on to its end"
    assert own.json("build")["silver"]["silver_plays"] == 200


QUERYING = """
import sys, playlake.doctor
from playlake.cli import main
from playlake.settings import Settings
from playlake.warehouse import duck

def examine(_):
    with duck.connect(Settings(_env_file=None, s3_endpoint="http://127.0.0.1:1")) as connection:
        print("running", flush=True)
        connection.execute("select count(*) from range(1000000000) a(n), range(1000) b(m) where (n * m) % 7 = 3")

playlake.doctor.examine = examine
sys.argv = ["playlake", "doctor"]
main()
"""


def test_ctrl_c_in_a_query_is_an_interruption_and_no_bug(tmp_path: Path) -> None:
    """DuckDB makes an error of its own of it, and would run the query to its end when it is closed."""
    pipe, env = subprocess.PIPE, Cli(tmp_path / "home").env
    command = [sys.executable, "-c", QUERYING]
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=env, cwd=tmp_path) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "running\n"
            pause(1)
            done = end(process, timeout=60)
        finally:
            process.kill()
    assert done.code == 130, done.err
    assert done.err.startswith("playlake: Interrupted.")
