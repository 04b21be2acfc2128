"""kill -9 of everything that can be killed: nothing is lost or doubled, and what follows starts clean."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path

from tests.support.commands import Cli, end, lands
from tests.support.lakes import assert_whole


def test_a_writer_killed_again_and_again_loses_and_doubles_nothing(cli: Cli) -> None:
    before = sum(p["in_bronze"] for p in assert_whole(cli, pending=None)["partitions"])
    small = Cli(cli.home, catchup_rows=40)
    sent = 0
    for number, delay in enumerate((0.05, 0.3, 0.7, 1.1)):
        sent += cli.json("simulate", "--plays", "1500", "--listeners", "50", "--seed", str(100 + number))["produced"]
        with small.start("land") as writer:
            assert writer.stderr is not None
            for line in writer.stderr:
                if "rows landed" in line:
                    break
            time.sleep(delay)  # into the midst of its commits
            assert writer.poll() is None
            writer.kill()
    cli.json("land", "--until-idle")
    report = assert_whole(cli)
    assert sum(p["in_bronze"] for p in report["partitions"]) == before + sent


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
        time.sleep(4)
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
    time.sleep(2)
    cli.kill("broker")
    time.sleep(14)  # doubled from 50 ms, the next attempt would be 11 s away
    with socket.create_server(("127.0.0.1", cli.state()["ports"]["broker"])) as server:
        server.settimeout(5)
        knocking, _ = server.accept()
        knocking.close()
    cli("up")
    done = end(feed, timeout=120)
    assert done.code == 0, done.err
    cli.json("land", "--until-idle")
    assert_whole(cli)
