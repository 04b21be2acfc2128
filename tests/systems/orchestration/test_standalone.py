"""`make airflow`: a scheduler that runs the DAGs by itself, from an export in the inbox to gold."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from playlake.settings import ROOT
from playlake.stack import ports
from tests.support.commands import Cli, end
from tests.support.exports import age, make_export
from tests.support.lakes import plays_of
from tests.support.modules import module_at

LAUNCHER = ROOT / "orchestration" / "standalone.py"


def start(cli: Cli, **extra: str) -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, str(LAUNCHER)],
        env={**cli.env, **extra},
        cwd=cli.home.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    Cli.started.append(started)
    return started


class Airflow:
    """Its public API, as the page uses it."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        body = json.dumps({"username": user, "password": password}).encode()
        self.token = self._send(f"{url}/auth/token", body)["access_token"]

    def _send(self, url: str, body: bytes | None = None, token: str | None = None) -> Any:
        request = urllib.request.Request(url, body, {"content-type": "application/json"})
        if token:
            request.add_header("authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def get(self, path: str) -> Any:
        return self._send(f"{self.url}/api/v2{path}", token=self.token)

    def runs(self, dag_id: str) -> list[Any]:
        return list(self.get(f"/dags/{dag_id}/dagRuns")["dag_runs"])

    def tasks(self) -> dict[str, str | None]:
        """By run and task, its state."""
        found = self.get("/dags/~/dagRuns/~/taskInstances?limit=100")["task_instances"]
        return {f"{t['dag_run_id']} {t['task_id']}": t["state"] for t in found}

    def come_to(self, goal: Callable[[], bool], stands_still_s: float = 240) -> None:
        """Wait for ``goal`` as long as some task goes on."""
        seen, since = self.tasks(), time.monotonic()
        while not goal():
            time.sleep(4)
            if (now := self.tasks()) != seen:
                seen, since = now, time.monotonic()
            assert time.monotonic() - since < stands_still_s, f"nothing moves: {now}"


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    made = Cli(tmp_path / "home", inbox=tmp_path / "inbox", listener="scheduled")
    yield made
    module_at(LAUNCHER).end_all(made.home.resolve() / "airflow")
    made("down")


def told(launcher: subprocess.Popen[str]) -> Airflow:
    """Where a launcher says that Airflow runs, once it does."""
    assert launcher.stdout is not None
    lines = [launcher.stdout.readline() for _ in range(2)]
    assert all(lines), launcher.communicate(timeout=60)
    user, password = lines[1].removeprefix("login").strip().split(" / ")
    return Airflow(lines[0].split()[1], user, password)


# As the containers' stack with Airflow: some thirty tasks, each a Python that imports Airflow, beside other tests.
@pytest.mark.timeout(1500)
def test_from_the_inbox_to_gold_with_no_hand_on_it(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    shutil.move(age(make_export(tmp_path / "made", 700, seed=31)), tmp_path / "inbox" / "export")
    port = ports.choose(1)[0]
    launcher = start(cli, AIRFLOW_PORT=str(port))
    airflow = told(launcher)
    assert airflow.url == f"http://127.0.0.1:{port}"
    airflow.come_to(lambda: [d["is_paused"] for d in airflow.get("/dags")["dags"]] == [False] * 3)

    def asked_by_the_asset() -> list[Any]:
        return [r for r in airflow.runs("warehouse_transformation") if r["run_type"] == "asset_triggered"]

    # The hourly run is due at once, and what it lands asks for a build; the six-hourly one is due too, and finds the
    # lake empty or not.
    airflow.come_to(lambda: [r["state"] for r in airflow.runs("spotify_ingestion")] == ["success"])
    airflow.come_to(lambda: [r["state"] for r in asked_by_the_asset()] == ["success"])
    refused = json.loads((tmp_path / "inbox" / "export.receipt.json").read_text())["refused"]
    assert plays_of(cli, "scheduled") == 700 - refused
    listening = set()
    for process in psutil.Process(launcher.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # a task that has just ended
            listening |= {c.laddr.ip for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    family = psutil.Process(launcher.pid).children(recursive=True)
    assert len(family) > 3
    done = end(launcher, signal.SIGTERM, timeout=90)
    assert done.code == 0, done.err
    assert psutil.wait_procs(family, timeout=5)[1] == []
    assert cli.processes() == []


def test_one_at_a_time_and_what_a_launcher_that_was_killed_has_left_is_ended(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    paused = {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True"}  # what matters here are the processes
    launcher = start(cli, **paused)
    told(launcher)
    for secret in ("passwords.json", "secrets.json"):
        assert (cli.home / "airflow" / secret).stat().st_mode & 0o077 == 0
    again = start(cli)
    assert "Airflow runs on" in again.communicate(timeout=60)[1]
    assert again.returncode == 1
    # A launcher that is killed leaves Airflow running, and the next one ends it.
    left = psutil.Process(launcher.pid).children(recursive=True)
    assert len(left) > 3
    launcher.kill()
    launcher.communicate()
    cli("down")  # ends the servers, which are not Airflow's
    assert [p for p in left if p.is_running()], "Airflow outlives a launcher that was killed"
    launcher = start(cli, **paused)
    told(launcher)
    assert psutil.wait_procs(left, timeout=5)[1] == []
    assert end(launcher, signal.SIGTERM, timeout=90).code == 0
    assert cli.processes() == []


@pytest.mark.parametrize("text", ["", "many", "[]", '{"airflow": "x"}'])
def test_a_damaged_list_of_ports_is_as_good_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.delenv("AIRFLOW_PORT", raising=False)
    (tmp_path / "ports.json").write_text(text)
    launcher = module_at(LAUNCHER)
    port = launcher.chosen_port(tmp_path)
    assert ports.is_free(port)
    assert launcher.chosen_port(tmp_path) == port


def test_a_port_that_is_taken_and_one_that_is_none(cli: Cli) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for given, said, code in ((str(port), f"Port {port} is taken", 1), ("many", "is no port", 2)):
            launcher = start(cli, AIRFLOW_PORT=given)
            out, err = launcher.communicate(timeout=60)
            assert (launcher.returncode, out) == (code, "")
            assert said in err
            assert "AIRFLOW_PORT" in err
            assert len(err.splitlines()) == 1
    assert cli.processes() == []
    assert os.environ.get("AIRFLOW_PORT") is None
