"""The compose file under kill -9 of each container and a restart of the whole: it comes back and loses nothing."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.compose import ORCHESTRATED, SERVICES, Stack, docker, stack_up
from tests.support.waiting import wait_for

COME_BACK_S = 600.0
"""Airflow's services wait for each other when they come back."""
pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack_up(tmp_path_factory.mktemp("compose")) as (made, _):
        yield made


def kill(stack: Stack, service: str) -> None:
    """kill -9 of a container's first process, behind Docker's back, and wait until Docker has restarted it."""
    before = stack.inspect(service)
    os.kill(before["State"]["Pid"], signal.SIGKILL)
    wait_for(lambda: stack.inspect(service)["RestartCount"] > before["RestartCount"])


def died(stack: Stack, since: float) -> list[tuple[str, int]]:
    """Services whose container has ended since, and its exit code."""
    period = ("--since", f"{since:.3f}", "--until", f"{time.time():.3f}")
    out = docker(
        *("events", *period, "--filter", "event=die", "--filter", stack.label, "--format", "{{json .Actor.Attributes}}")
    )
    found = [json.loads(line) for line in out.splitlines()]
    return [(one["com.docker.compose.service"], int(one["exitCode"])) for one in found]


def test_kill_9_of_each_container_comes_back_by_itself_and_loses_nothing(stack: Stack) -> None:
    before = stack.verified()
    for service in SERVICES:
        kill(stack, service)
        wait_for(stack.all_healthy, COME_BACK_S, every=2)
    wait_for(lambda: stack.verified() > before, every=5)


def test_a_restart_of_the_whole_loses_nothing(stack: Stack) -> None:
    before, since = stack.verified(), time.time()
    stack.compose("restart", "--timeout", "20")
    killed = {service for service, code in died(stack, since) if code == 137} - {"store"}
    assert not killed, stack.compose("logs", "--tail", "20", *killed)  # the store's own time to end is not ours
    wait_for(stack.all_healthy, COME_BACK_S, every=2)
    wait_for(lambda: stack.verified() > before, every=5)


def test_airflow_builds_what_has_arrived_and_comes_back_from_kill_9(stack: Stack) -> None:
    before = stack.shown()
    stack.script("up", PROFILES="orchestration")
    wait_for(lambda: stack.all_healthy(ORCHESTRATED))
    airflow = stack.airflow()

    def built() -> Any:
        return "success" in airflow.runs("warehouse_transformation", "asset_triggered")

    wait_for(built, 1800, every=5)
    after = stack.shown()
    assert after["version"] > before["version"]
    assert after["plays"] > before["plays"]
    for service in ("scheduler", "orchestrator", "dag-processor", "metadata"):
        kill(stack, service)
        wait_for(lambda: stack.all_healthy(ORCHESTRATED), COME_BACK_S, every=2)
    stack.verified()
