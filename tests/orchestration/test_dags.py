"""The DAGs run for real: what they are, what they bring to gold, and what they do when something fails."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from playlake import events
from playlake.broker import Producer
from playlake.settings import ROOT
from tests.orchestration.conftest import AIRFLOW, HERE, Dags, ended
from tests.support import Cli, Webhook, age, assert_whole, make_export, parquet_files, plays_of, wait_for

pytestmark = pytest.mark.timeout(900)


def listener(dags: Dags) -> str:
    return dags.cli.env["PLAYLAKE_LISTENER"]


def drop(dags: Dags, tmp_path: Path, rows: int, seed: int, name: str = "export") -> int:
    """Put an export into the inbox; returns how many of its rows are plays."""
    made = make_export(tmp_path / f"made-{name}", rows, seed=seed)
    shutil.move(age(made), Path(dags.cli.env["PLAYLAKE_INBOX"]) / name)
    return rows


def states(run: Any) -> dict[str, str]:
    return {name: task["state"] for name, task in run["tasks"].items()}


def in_gold(dags: Dags) -> int:
    """Plays of the test's listener in the published gold."""
    return plays_of(dags.cli, listener(dags))


def receipt(dags: Dags, name: str = "export") -> Any:
    return json.loads((Path(dags.cli.env["PLAYLAKE_INBOX"]) / f"{name}.receipt.json").read_text())


def read(dags: Dags) -> Any:
    return json.loads(dags.python(str(HERE / "read_dags.py")).splitlines()[-1])


def test_the_dags_are_what_the_plan_says_and_do_nothing_when_imported(dags: Dags) -> None:
    del dags.extra["ORCHESTRATION_RETRY_DELAY_S"]
    found = read(dags)
    assert (found["errors"], found["touched"]) == ({}, [])
    assert set(found["dags"]) == {"spotify_ingestion", "warehouse_transformation", "lake_maintenance"}
    ingestion, warehouse, maintenance = (
        found["dags"][n] for n in ("spotify_ingestion", "warehouse_transformation", "lake_maintenance")
    )
    assert (ingestion["cron"], maintenance["cron"]) == ("0 * * * *", "0 0 * * *")
    assert (warehouse["cron"], warehouse["assets"]) == ("0 */6 * * *", ["bronze_plays"])
    for dag in (ingestion, warehouse, maintenance):
        assert (dag["at_once"], dag["catchup"]) == (1, False)
        for task in dag["tasks"].values():
            assert (task["retries"], task["delay_s"], task["alerts"]) == (3, 300.0, True)
            assert 0 < task["limit_s"] <= 1800
    assert [n for n, t in ingestion["tasks"].items() if t["outlets"]] == ["announce"]
    steps = ["new_data", "silver", "silver_tests", "gold", "gold_tests", "recommendations", "publish"]
    for before, after in zip(steps, [*steps[1:], "refresh_dashboard"], strict=True):
        assert before in warehouse["tasks"][after]["after"]


def test_an_import_that_does_something_would_be_seen(dags: Dags, tmp_path: Path) -> None:
    folder = tmp_path / "dags"
    shutil.copytree(ROOT / "orchestration" / "dags", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "nosy.py").write_text(
        "# airflow dag\nimport subprocess\nsubprocess.run(['true'])\nopen('/dev/null', 'w').close()\n"
    )
    dags.extra["AIRFLOW__CORE__DAGS_FOLDER"] = str(folder)
    touched = read(dags)["touched"]
    assert any("subprocess.Popen" in t for t in touched)
    assert any("/dev/null" in t for t in touched)


def test_an_export_in_the_inbox_comes_to_gold_and_people_are_told(dags: Dags, hook: Webhook, tmp_path: Path) -> None:
    dags.cli.env["PLAYLAKE_ALERT_URLS"] = hook.url
    drop(dags, tmp_path, 600, seed=21)
    (Path(dags.cli.env["PLAYLAKE_INBOX"]) / "photo.jpg").write_bytes(b"\xff\xd8")
    age(Path(dags.cli.env["PLAYLAKE_INBOX"]) / "photo.jpg")
    ingested = dags.run("spotify_ingestion")
    assert ingested["state"] == "success"
    assert set(states(ingested).values()) == {"success"}
    built = dags.run("warehouse_transformation")
    assert set(states(built).values()) == {"success"}
    assert in_gold(dags) == 600 - receipt(dags)["refused"]
    told = [m["title"] for m in hook.told]
    assert told == ["spotify_ingestion succeeded", "warehouse_transformation succeeded"]
    assert "600 rows in bronze/plays" in hook.told[0]["message"].replace(f"{600 - receipt(dags)['refused']}", "600")
    assert "photo.jpg" in hook.told[0]["message"]
    # Nothing is new now: nothing is landed, built or told.
    assert {n for n, s in states(dags.run("spotify_ingestion")).items() if s == "success"} == {
        *("fetch_new", "last_announced", "anything_new"),
    }
    assert set(states(dags.run("warehouse_transformation")).values()) == {"skipped"}
    assert len(hook.told) == 2


def test_a_day_filled_in_again_changes_nothing(dags: Dags, tmp_path: Path) -> None:
    drop(dags, tmp_path, 300, seed=22)
    hours = [f"2026-03-01T{hour:02}:00:00+00:00" for hour in (0, 1)]
    first = dags.runs("spotify_ingestion", *hours)
    assert [r["state"] for r in first] == ["success"] * 2
    dags.run("warehouse_transformation", hours[0])
    gold = in_gold(dags)
    assert gold == 300 - receipt(dags)["refused"]
    whole = assert_whole(dags.cli)
    assert [r["state"] for r in dags.runs("spotify_ingestion", *hours)] == ["success"] * 2
    dags.run("warehouse_transformation", hours[0])
    assert in_gold(dags) == gold
    assert assert_whole(dags.cli)["partitions"] == whole["partitions"]


def test_what_an_always_running_writer_has_landed_is_announced_too(dags: Dags, tmp_path: Path) -> None:
    drop(dags, tmp_path, 200, seed=23)
    dags.cli.json("inbox")
    dags.cli("land", "--until-idle")
    assert dags.cli.json("lake", "pending")["pending"] == 0
    run = dags.run("spotify_ingestion")
    assert states(run)["announce"] == "success"
    assert states(dags.run("spotify_ingestion"))["announce"] == "skipped"


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
    assert [m["title"] for m in hook.told] == ["spotify_ingestion: anything_new failed"]
    assert "does not answer" in hook.told[0]["message"]
    assert hook.told[0]["type"] == "failure"


def test_wrong_use_is_not_tried_again(dags: Dags) -> None:
    dags.cli.env["PLAYLAKE_FLUSH_ROWS"] = "none"
    run = dags.run("lake_maintenance")
    assert run["tasks"]["verify"] == {"state": "failed", "tries": 1}


def test_too_much_refused_stops_before_the_asset(dags: Dags, hook: Webhook, tmp_path: Path) -> None:
    drop(dags, tmp_path, 50, seed=24)
    dags.cli.env["PLAYLAKE_ALERT_URLS"] = hook.url
    dags.run("spotify_ingestion")
    with Producer(dags.cli.settings()) as producer:
        for number in range(40):
            producer.send(events.PLAYS, "someone", f"no event {number}".encode())
    dags.extra["ORCHESTRATION_RETRY_DELAY_S"] = "0"
    run = dags.run("spotify_ingestion")
    assert run["state"] == "failed"
    assert run["tasks"]["quality.refusals"] == {"state": "failed", "tries": 4}
    assert (states(run)["quality.verify"], states(run)["announce"]) == ("success", "upstream_failed")
    assert hook.told[-1]["title"] == "spotify_ingestion: quality.refusals failed"
    assert "40 of 40 messages were refused" in hook.told[-1]["message"]
    dags.cli.env["PLAYLAKE_MAX_REFUSED_SHARE"] = "1"  # somebody has looked at them
    assert states(dags.run("spotify_ingestion"))["announce"] == "success"


def test_two_builders_at_once_do_not_hurt(dags: Dags, airflow_home: Path, tmp_path: Path) -> None:
    drop(dags, tmp_path, 400, seed=25)
    dags.cli.json("inbox")
    dags.cli("land", "--until-idle")
    other = Dags(tmp_path / "other", Cli(dags.cli.home))
    other.home.mkdir()
    shutil.copy(airflow_home / "airflow.db", other.home)
    for one in (dags, other):
        one.extra["ORCHESTRATION_RETRY_DELAY_S"] = "5"
    first = dags.start(str(HERE / "run_dag.py"), "warehouse_transformation")
    time.sleep(4)
    second = other.start(str(HERE / "run_dag.py"), "warehouse_transformation")
    (one,), (two,) = (ended(process.communicate(timeout=600)[0]) for process in (first, second))
    # Whoever began last publishes; the other skips what it has left, and neither fails.
    assert {one["state"], two["state"]} == {"success"}
    assert "success" in {states(one)["publish"], states(two)["publish"]}
    assert set(states(one).values()) | set(states(two).values()) <= {"success", "skipped"}
    assert in_gold(dags) == 400 - receipt(dags)["refused"]


def test_maintenance_prunes_a_whole_lake_and_tells_of_one_that_is_not(dags: Dags, hook: Webhook) -> None:
    dags.cli.env |= {"PLAYLAKE_ALERT_URLS": hook.url, "PLAYLAKE_S3_BUCKET": f"broken-{uuid.uuid4().hex[:8]}"}
    dags.cli("land", "--until-idle")
    run = dags.run("lake_maintenance")
    assert states(run) == dict.fromkeys(("verify", "prune", "tell"), "success")
    store, live = parquet_files(dags.cli, "bronze/plays")
    store.rm_file(live[0])
    dags.extra["ORCHESTRATION_RETRY_DELAY_S"] = "0"
    run = dags.run("lake_maintenance")
    assert run["tasks"]["verify"] == {"state": "failed", "tries": 4}
    assert states(run)["prune"] == "upstream_failed"
    assert [m["title"] for m in hook.told] == ["lake_maintenance succeeded", "lake_maintenance: verify failed"]
    assert "1 unreadable" in hook.told[-1]["message"]


CONNECTIONS = {
    "AIRFLOW_CONN_PLAYLAKE_KAFKA": {
        "conn_type": "kafka",
        "extra": {
            "bootstrap.servers": "broker.example:9092",
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "key",
            "sasl.password": "of-a-test-only",
        },
    },
    "AIRFLOW_CONN_PLAYLAKE_S3": {
        "conn_type": "aws",
        "login": "id",
        "password": "of-a-test-only",
        "extra": {"region_name": "eu-north-1", "service_config": {"s3": {"bucket_name": "my-lake"}}},
    },
    "AIRFLOW_CONN_PLAYLAKE_REDIS": {
        "conn_type": "redis",
        "host": "cache",
        "port": 6380,
        "password": "p/w",
        "extra": {"ssl": True},
    },
    "AIRFLOW_CONN_PLAYLAKE_SNOWFLAKE": {
        "conn_type": "snowflake",
        "login": "PLAYLAKE",
        "extra": {"account": "org-acc", "role": "LOADER", "private_key_file": "/run/key.p8"},
    },
}


def test_connections_come_from_the_environment_and_reach_playlake(dags: Dags) -> None:
    dags.extra |= {name: json.dumps(value) for name, value in CONNECTIONS.items()}
    dags.extra["PYTHONPATH"] = str(ROOT / "orchestration" / "dags")
    code = "import json; from playlake_orchestration import connections as c; print(json.dumps(c.variables()))"
    found = json.loads(dags.python("-c", code).splitlines()[-1])
    assert found == {
        "PLAYLAKE_KAFKA_BOOTSTRAP": "broker.example:9092",
        "PLAYLAKE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "PLAYLAKE_KAFKA_SASL_MECHANISM": "PLAIN",
        "PLAYLAKE_KAFKA_SASL_USERNAME": "key",
        "PLAYLAKE_KAFKA_SASL_PASSWORD": "of-a-test-only",
        "PLAYLAKE_S3_ACCESS_KEY": "id",
        "PLAYLAKE_S3_SECRET_KEY": "of-a-test-only",
        "PLAYLAKE_S3_REGION": "eu-north-1",
        "PLAYLAKE_S3_BUCKET": "my-lake",
        "PLAYLAKE_REDIS_URL": "rediss://:p%2Fw@cache:6380/0",
        "SNOWFLAKE_USER": "PLAYLAKE",
        "SNOWFLAKE_ACCOUNT": "org-acc",
        "SNOWFLAKE_ROLE": "LOADER",
        "SNOWFLAKE_PRIVATE_KEY_FILE": "/run/key.p8",
    }
    # They win over the environment: the broker of the connection is asked, and no secret is logged.
    dags.extra.pop("AIRFLOW_CONN_PLAYLAKE_S3")
    dags.cli.env |= {"PLAYLAKE_PROFILE": "cloud", "PLAYLAKE_S3_ACCESS_KEY": "a", "PLAYLAKE_S3_SECRET_KEY": "b"}
    dags.cli.env["PLAYLAKE_KAFKA_TIMEOUT_S"] = "1"
    dags.extra["ORCHESTRATION_RETRY_DELAY_S"] = "0"
    out = dags.python(str(HERE / "run_dag.py"), "lake_maintenance")
    assert ended(out)[0]["state"] == "failed"
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


def test_airflow_and_playlake_have_environments_of_their_own() -> None:
    def packages(python: Path) -> set[str]:
        return {
            p.name.split("-")[0].lower()
            for p in (python.parent.parent / "lib").glob("python3*/site-packages/*.dist-info")
        }

    airflow, ours = packages(AIRFLOW / "python"), packages(ROOT / ".venv" / "bin" / "python")
    assert "apache_airflow" in airflow
    assert not {"dbt_core", "playlake", "duckdb"} & airflow
    assert "apache_airflow" not in ours
