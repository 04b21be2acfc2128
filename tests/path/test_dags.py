"""The DAGs: what they are, that importing them does nothing, and how Airflow's connections reach playlake."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from playlake.settings import ROOT
from tests.support.orchestration import AIRFLOW

DAGS = ROOT / "orchestration" / "dags"
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


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What one process of Airflow's environment finds: our DAGs, those of a folder that does too much, connections."""
    home = tmp_path_factory.mktemp("airflow")
    nosy = home / "dags"
    shutil.copytree(DAGS, nosy, ignore=shutil.ignore_patterns("__pycache__"))
    (nosy / "nosy.py").write_text(
        "# airflow dag\nimport subprocess\nsubprocess.run(['true'])\nopen('/dev/null', 'w').close()\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "ORCH"))}
    environment |= {name: json.dumps(value) for name, value in CONNECTIONS.items()}
    environment |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(ROOT / "orchestration" / "airflow.cfg"),
        "PYTHONPATH": str(DAGS),
        "PYTHONDONTWRITEBYTECODE": "1",  # what Python writes beside a module is not the DAG's
    }
    reader = Path(__file__).parent / "read_dags.py"
    done = subprocess.run(
        [str(AIRFLOW / "python"), str(reader), str(DAGS), str(nosy)],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_dags_are_what_the_plan_says_and_do_nothing_when_imported(read: Any) -> None:
    found = read["folders"][0]
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


def test_an_import_that_does_something_would_be_seen(read: Any) -> None:
    touched = read["folders"][1]["touched"]
    assert any("subprocess.Popen" in t for t in touched)
    assert any("/dev/null" in t for t in touched)


def test_connections_come_from_the_environment(read: Any) -> None:
    assert read["variables"] == {
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
