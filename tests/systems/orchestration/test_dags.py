"""The DAGs: what they are, where their servers are named, and how their commands begin and end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from playlake.settings import ROOT
from tests.support.waiting import wait_for
from tests.systems.orchestration.conftest import AIRFLOW, HERE, Dags


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
