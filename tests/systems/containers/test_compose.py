"""``make up`` and ``make down``: the compose file that users run, from an empty project to data on the dashboard.

In this order: the stack is brought up, looked at, taken down, and brought up again with Airflow in the builder's place.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.compose import (
    ORCHESTRATED,
    PORTS,
    Stack,
    assert_clean_image,
    assert_without_rights,
    base_image,
    stack_up,
)
from tests.support.exports import make_export
from tests.support.waiting import wait_for

STACK_DEADLINE_S = 600.0
"""For what waits for a whole stack: a build of all its data, Airflow's first tasks."""
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, str]]:
    with stack_up(tmp_path_factory.mktemp("compose")) as up:
        yield up


@pytest.fixture(scope="module")
def stack(started: tuple[Stack, str]) -> Stack:
    return started[0]


def test_up_ends_with_data_on_the_dashboard(started: tuple[Stack, str]) -> None:
    stack, printed = started
    assert f"dashboard  {stack.url('DASHBOARD_PORT')}" in printed
    wait_for(stack.all_healthy)
    assert b"<title>" in stack.get("DASHBOARD_PORT", "/")
    assert json.loads(stack.get("API_PORT", "/health"))["cache"] == "ok"
    assert stack.shown()["plays"] >= 20_000


def test_secrets_are_private_ports_on_loopback_and_services_without_rights(stack: Stack) -> None:
    assert stack.env_file.stat().st_mode & 0o077 == 0
    secrets = stack.secrets()
    assert set(secrets) == {
        *("S3_ACCESS_KEY", "S3_SECRET_KEY", "REDIS_PASSWORD"),
        *("AIRFLOW_DB_PASSWORD", "AIRFLOW_SECRET_KEY", "AIRFLOW_PASSWORD"),
    }
    assert all(len(value) > 20 for value in secrets.values())
    assert len(set(secrets.values())) == len(secrets)
    assert stack.bound() == ["127.0.0.1"] * (len(PORTS) - 1)
    assert_without_rights(stack, "writer", "feed", "builder", "api", "dashboard")


def test_the_image_holds_no_secret_and_no_build_tool(stack: Stack) -> None:
    assert_clean_image(stack, "playlake:local")
    with pytest.raises(AssertionError, match="pip"):
        assert_clean_image(stack, base_image())  # the check sees what our image has left behind


def test_an_export_in_the_inbox_is_imported_and_has_its_receipt(stack: Stack, tmp_path: Path) -> None:
    made = make_export(tmp_path / "export", 500)
    shutil.move(made, stack.inbox / "export")
    receipt = stack.inbox / "export.receipt.json"
    wait_for(receipt.exists, STACK_DEADLINE_S)
    result = json.loads(receipt.read_text())
    assert result["read"] == 500 == result["produced"] + result["refused"]


def test_down_leaves_nothing_running_and_up_again_with_airflow_keeps_the_data(stack: Stack) -> None:
    before = stack.verified()
    stack.script("down")
    assert stack.states() == {}
    printed = stack.script("up", PROFILES="orchestration")
    assert f"Airflow    {stack.url('AIRFLOW_PORT')}" in printed
    wait_for(lambda: stack.all_healthy(ORCHESTRATED))
    assert stack.verified() >= before
    assert stack.bound() == ["127.0.0.1"] * len(PORTS)
    assert_without_rights(stack, "scheduler", "orchestrator", "dag-processor")


def test_airflow_in_containers_reaches_the_lake(stack: Stack) -> None:
    """The third task of the hourly run compares Kafka with the lake, whose addresses it has as connections."""
    airflow = stack.airflow()
    wait_for(airflow.all_unpaused, every=2)
    wait_for(lambda: airflow.state_of("spotify_ingestion", "anything_new") == "success", STACK_DEADLINE_S, every=2)
    assert_clean_image(stack, "playlake-airflow:local")
