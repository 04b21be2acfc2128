"""Airflow in its own environment: DAGs run by ``dag.test()`` on a stack, and a client of its API."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from playlake.settings import ROOT
from tests.support.commands import Cli
from tests.support.exports import age, make_export
from tests.support.lakes import plays_of
from tests.support.modules import module_at
from tests.support.post_server import Webhook
from tests.support.waiting import DEADLINE_S

AIRFLOW = ROOT / ".venv-airflow" / "bin"
LAUNCHER = ROOT / "orchestration" / "standalone.py"


@dataclass
class Dags:
    """Runs DAGs with ``dag.test()`` on a home of playlake."""

    home: Path
    cli: Cli
    extra: dict[str, str] = field(default_factory=lambda: {"ORCHESTRATION_RETRY_DELAY_S": "1"})
    runner: subprocess.Popen[str] | None = None
    """The process that runs DAGs, from the first that is asked for."""
    said: list[str] = field(default_factory=list)
    """What it has said so far."""

    @property
    def env(self) -> dict[str, str]:
        """The environment of Airflow: playlake's settings are those of the test's command."""
        return {
            **{n: v for n, v in self.cli.env.items() if not n.startswith("AIRFLOW")},
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW_CONFIG": str(ROOT / "orchestration" / "airflow.cfg"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "orchestration" / "dags"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home / 'airflow.db'}",
            "ORCHESTRATION_PLAYLAKE": str(ROOT / ".venv" / "bin" / "playlake"),
            "ORCHESTRATION_LAND_FOR": "60s",
            **self.extra,
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Run Python of Airflow's environment and do not wait."""
        process = subprocess.Popen(
            [str(AIRFLOW / "python"), *arguments],
            env=self.env,
            cwd=self.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        Cli.started.append(process)
        return process

    def python(self, *arguments: str) -> str:
        """Run Python of Airflow's environment to its end."""
        with self.start(*arguments) as process:
            out, _ = process.communicate()
        assert process.returncode == 0, out[-6000:]
        return out

    def run(self, dag_id: str) -> Any:
        """Run a DAG once; returns state and tasks of the run."""
        return self.runs(dag_id)[0]

    def runs(self, *dags: str) -> list[Any]:
        """Run DAGs (``dag_id`` or ``dag_id@logical date``) one after the other."""
        self.begin(*dags)
        return self.ended()

    def begin(self, *dags: str) -> None:
        """Run them and do not wait, with the environment as it is now."""
        if self.runner is None:
            self.runner = self.start(str(Path(__file__).parent / "run_dag.py"))
        assert self.runner.stdin
        self.runner.stdin.write(json.dumps({"dags": dags, "env": self.env}) + "\n")
        self.runner.stdin.flush()

    def ended(self) -> list[Any]:
        """How those that were begun have ended, once they have."""
        assert self.runner
        assert self.runner.stdout
        for line in iter(self.runner.stdout.readline, ""):
            self.said.append(line)
            if line.startswith('[{"state":'):
                return list(json.loads(line))
        raise AssertionError(f"the runner ended:\n{''.join(self.said[-60:])}")

    def drop(self, rows: int, seed: int) -> None:
        """Put an export of so many rows into the inbox."""
        made = make_export(self.home.parent / "made", rows, seed=seed)
        shutil.move(age(made), self.inbox / "export")

    @property
    def inbox(self) -> Path:
        """Where exports are dropped."""
        return Path(self.cli.env["PLAYLAKE_INBOX"])

    @property
    def refused(self) -> int:
        """Rows of the export that its receipt says are refused."""
        return int(json.loads((self.inbox / "export.receipt.json").read_text())["refused"])

    @property
    def in_gold(self) -> int:
        """Plays of the test's listener in the published gold."""
        return plays_of(self.cli, self.cli.env["PLAYLAKE_LISTENER"])


def states(run: Any) -> dict[str, str]:
    """By task, its state."""
    return {name: task["state"] for name, task in run["tasks"].items()}


class Airflow:
    """Its public API, as its page uses it."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        body = json.dumps({"username": user, "password": password}).encode()
        self.token = self._send(f"{url}/auth/token", body)["access_token"]

    def _send(self, url: str, body: bytes | None = None, token: str | None = None) -> Any:
        request = urllib.request.Request(url, body, {"content-type": "application/json"})
        if token:
            request.add_header("authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return json.load(answer)

    def get(self, path: str) -> Any:
        """The answer to a path below ``/api/v2``."""
        return self._send(f"{self.url}/api/v2{path}", token=self.token)

    def all_unpaused(self) -> bool:
        """Whether the three DAGs are there and scheduled."""
        return [d["is_paused"] for d in self.get("/dags")["dags"]] == [False] * 3

    def runs(self, dag_id: str, *types: str) -> list[str]:
        """States of a DAG's runs, of these types if any are named."""
        found = self.get(f"/dags/{dag_id}/dagRuns")["dag_runs"]
        return [run["state"] for run in found if not types or run["run_type"] in types]

    def state_of(self, dag_id: str, task_id: str) -> str | None:
        """State of a task in the first run of its DAG."""
        found = self.get(f"/dags/{dag_id}/dagRuns/~/taskInstances?limit=100")["task_instances"]
        return next((task["state"] for task in found if task["task_id"] == task_id), None)


def launch(cli: Cli, **extra: str) -> subprocess.Popen[str]:
    """Start what ``make airflow`` starts."""
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


def at_work(launcher: subprocess.Popen[str]) -> Airflow:
    """The API of what a launcher has started, once that is ready."""
    assert launcher.stdout is not None
    lines = [launcher.stdout.readline() for _ in range(2)]
    assert all(lines), launcher.communicate()
    user, password = lines[1].removeprefix("login").strip().split(" / ")
    return Airflow(lines[0].split()[1], user, password)


@pytest.fixture
def launcher_cli(tmp_path: Path) -> Iterator[Cli]:
    """A home for ``make airflow``; whatever has been started there is ended."""
    made = Cli(tmp_path / "home", inbox=tmp_path / "inbox", listener="scheduled")
    (tmp_path / "inbox").mkdir()
    yield made
    module_at(LAUNCHER).end_all(made.home.resolve() / "airflow")
    made("down")


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of Airflow with a database, to be copied: making one takes seconds."""
    home = tmp_path_factory.mktemp("airflow")
    made = Dags(home, Cli(home))
    made.python(str(AIRFLOW / "airflow"), "db", "migrate")
    return home


@pytest.fixture
def dags(cli: Cli, airflow_home: Path, tmp_path: Path) -> Dags:
    """DAGs of the test's own, on the stack of its module, with an inbox."""
    home = tmp_path / "airflow"
    home.mkdir()
    (home / "airflow.db").write_bytes((airflow_home / "airflow.db").read_bytes())
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    return Dags(home, Cli(cli.home, inbox=inbox, listener=f"listener-{os.getpid()}-{time.monotonic_ns()}"))


@pytest.fixture
def hook() -> Iterator[Webhook]:
    """A webhook, closed at the end."""
    made = Webhook()
    yield made
    made.close()
