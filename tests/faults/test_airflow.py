"""Airflow where something is wrong: tasks that fail or are ended, two builders at once, a launcher that is killed."""

from __future__ import annotations

import json
import shutil
import signal
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from playlake import events
from playlake.broker import Producer
from playlake.settings import ROOT
from tests.support.commands import Cli, end
from tests.support.lakes import parquet_files
from tests.support.orchestration import Dags, at_work, launch, states
from tests.support.post_server import Webhook
from tests.support.waiting import wait_for


def test_a_task_that_fails_is_tried_three_times_more_and_then_alerts(dags: Dags, hook: Webhook) -> None:
    dags.cli.env["PLAYLAKE_ALERT_URLS"] = hook.url
    dags.cli.env["PLAYLAKE_KAFKA_TIMEOUT_S"] = "1"
    dags.cli.kill("broker")
    try:
        run = dags.run("spotify_ingestion")
    finally:
        dags.cli("up")
    assert run["state"] == "failed"
    assert run["tasks"]["anything_new"] == {"state": "failed", "tries": 4}
    assert states(run)["announce"] == "upstream_failed"
    assert [m["title"] for m in hook.messages] == ["spotify_ingestion: anything_new failed"]
    assert "does not answer" in hook.messages[0]["message"]
    assert hook.messages[0]["type"] == "failure"


def test_wrong_use_is_not_tried_again(dags: Dags) -> None:
    dags.cli.env["PLAYLAKE_FLUSH_ROWS"] = "none"
    run = dags.run("lake_maintenance")
    assert run["tasks"]["verify"] == {"state": "failed", "tries": 1}


def test_what_others_have_landed_is_announced_and_too_much_refused_stops_before_that(dags: Dags, hook: Webhook) -> None:
    dags.extra["ORCHESTRATION_RETRY_DELAY_S"] = "0"
    dags.cli.env["PLAYLAKE_ALERT_URLS"] = hook.url
    dags.drop(50, seed=24)
    dags.cli.json("inbox")
    dags.cli("land", "--until-idle")  # as a writer that always runs
    assert dags.cli.json("lake", "pending")["pending"] == 0
    assert states(dags.run("spotify_ingestion"))["announce"] == "success"
    with Producer(dags.cli.settings()) as producer:
        for number in range(40):
            producer.send(events.PLAYS, "someone", f"no event {number}".encode())
    run = dags.run("spotify_ingestion")
    assert run["state"] == "failed"
    assert run["tasks"]["quality.refusals"] == {"state": "failed", "tries": 4}
    assert (states(run)["quality.verify"], states(run)["announce"]) == ("success", "upstream_failed")
    assert hook.messages[-1]["title"] == "spotify_ingestion: quality.refusals failed"
    assert "40 of 40 messages were refused" in hook.messages[-1]["message"]
    dags.cli.env["PLAYLAKE_MAX_REFUSED_SHARE"] = "1"  # somebody has looked at them
    assert states(dags.run("spotify_ingestion"))["announce"] == "success"


def test_maintenance_prunes_a_whole_lake_and_tells_of_one_that_is_not(dags: Dags, hook: Webhook) -> None:
    dags.cli.env |= {"PLAYLAKE_ALERT_URLS": hook.url, "PLAYLAKE_S3_BUCKET": f"broken-{uuid.uuid4().hex[:8]}"}
    dags.extra["ORCHESTRATION_RETRY_DELAY_S"] = "0"
    dags.cli("simulate", "--plays", "50")
    dags.cli("land", "--until-idle")
    run = dags.run("lake_maintenance")
    assert states(run) == dict.fromkeys(("verify", "compact", "prune", "tell"), "success")
    store, live = parquet_files(dags.cli, "bronze/plays")
    store.rm_file(live[0])
    run = dags.run("lake_maintenance")
    assert run["tasks"]["verify"] == {"state": "failed", "tries": 4}
    assert (states(run)["compact"], states(run)["prune"]) == ("upstream_failed", "upstream_failed")
    assert [m["title"] for m in hook.messages] == ["lake_maintenance succeeded", "lake_maintenance: verify failed"]
    assert "1 unreadable" in hook.messages[-1]["message"]


def test_connections_win_over_the_environment_and_no_secret_is_logged(dags: Dags) -> None:
    connection = {
        "conn_type": "kafka",
        "extra": {
            "bootstrap.servers": "broker.example:9092",
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "key",
            "sasl.password": "of-a-test-only",
        },
    }
    dags.extra |= {"AIRFLOW_CONN_PLAYLAKE_KAFKA": json.dumps(connection), "ORCHESTRATION_RETRY_DELAY_S": "0"}
    dags.cli.env |= {"PLAYLAKE_PROFILE": "cloud", "PLAYLAKE_S3_ACCESS_KEY": "a", "PLAYLAKE_S3_SECRET_KEY": "b"}
    dags.cli.env |= {"PLAYLAKE_REDIS_URL": "redis://cache:6379/0", "PLAYLAKE_KAFKA_TIMEOUT_S": "1"}
    assert dags.run("lake_maintenance")["state"] == "failed"
    out = "".join(dags.said)
    assert "The broker at broker.example:9092 does not answer" in out
    assert "of-a-test-only" not in out


@pytest.mark.parametrize("way", ["signal", "time"])
def test_a_task_that_is_ended_ends_its_command(dags: Dags, tmp_path: Path, way: str) -> None:
    slow = tmp_path / "slow"
    slow.write_text(
        f"#!/bin/sh\ntrap 'echo ended > {tmp_path}/ended; exit 1' TERM\necho $$ > {tmp_path}/pid\n"
        "while :; do sleep 0.2; done\n"
    )
    slow.chmod(0o755)
    dags.extra |= {"ORCHESTRATION_PLAYLAKE": str(slow), "PYTHONPATH": str(ROOT / "orchestration" / "dags")}
    code = "from playlake_orchestration import playlake\n"
    if way == "time":
        # What an execution_timeout is.
        code += "from airflow.sdk.execution_time.timeout import timeout\nwith timeout(3):\n    "
    process = dags.start("-c", code + "playlake('land')")
    wait_for((tmp_path / "pid").exists)
    if way == "signal":
        process.terminate()
    out, _ = process.communicate(timeout=30)
    assert ("AirflowTaskTimeout" if way == "time" else "AirflowException") in out
    assert (tmp_path / "ended").exists(), "it was waited for"


def test_two_builders_at_once_do_not_hurt(dags: Dags, airflow_home: Path, tmp_path: Path) -> None:
    dags.drop(400, seed=25)
    dags.cli.json("inbox")
    dags.cli("land", "--until-idle")
    other = Dags(tmp_path / "other", Cli(dags.cli.home))
    other.home.mkdir()
    shutil.copy(airflow_home / "airflow.db", other.home)
    for one in (dags, other):
        one.extra["ORCHESTRATION_RETRY_DELAY_S"] = "5"
    dags.begin("warehouse_transformation")
    time.sleep(4)
    other.begin("warehouse_transformation")
    with ThreadPoolExecutor() as both:  # one that nobody hears stands still
        (one,), (two,) = both.map(Dags.ended, (dags, other))
    # Whoever began last publishes; the other skips what it has left, and neither fails.
    assert {one["state"], two["state"]} == {"success"}
    assert "success" in {states(one)["publish"], states(two)["publish"]}
    assert set(states(one).values()) | set(states(two).values()) <= {"success", "skipped"}
    assert dags.in_gold == 400 - dags.refused


def test_one_at_a_time_and_what_a_launcher_that_was_killed_has_left_is_ended(launcher_cli: Cli) -> None:
    cli = launcher_cli
    paused = {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True"}  # what matters here are the processes
    launcher = launch(cli, **paused)
    at_work(launcher)
    for secret in ("passwords.json", "secrets.json"):
        assert (cli.home / "airflow" / secret).stat().st_mode & 0o077 == 0
    again = launch(cli)
    assert "Airflow runs on" in again.communicate(timeout=60)[1]
    assert again.returncode == 1
    # A launcher that is killed leaves Airflow running, and the next one ends it.
    left = psutil.Process(launcher.pid).children(recursive=True)
    assert len(left) > 3
    launcher.kill()
    launcher.communicate()
    cli("down")  # ends the servers, which are not Airflow's
    assert [p for p in left if p.is_running()], "Airflow outlives a launcher that was killed"
    launcher = launch(cli, **paused)
    at_work(launcher)
    assert psutil.wait_procs(left, timeout=5)[1] == []
    assert end(launcher, signal.SIGTERM, timeout=90).code == 0
    assert cli.processes() == []
