"""No process of ours outlives the one that started it, and a build ends what an earlier one could not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import psutil
import pytest

from playlake.errors import PlaylakeError
from playlake.lifeline import VARIABLE
from playlake.settings import ROOT
from playlake.warehouse.local import Local
from tests.models.warehouse import Warehouse
from tests.support.waiting import wait_for

PARENT = """
import os, subprocess, sys
from playlake.lifeline import lifeline
with lifeline() as line:
    env = {**os.environ, **line.variables}
    child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], env=env, pass_fds=line.fds)
    print(child.pid, flush=True)
    sys.stdin.read(1)
    os._exit(9)  # as one that is killed: nothing is closed by hand
"""
CHILD = "import time; from playlake.lifeline import follow; follow(); time.sleep(600)"


def test_a_child_ends_when_its_parent_has() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
    assert parent.returncode == 9
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_who_was_given_no_lifeline_runs_on() -> None:
    assert subprocess.run([sys.executable, "-c", "from playlake.lifeline import follow; follow()"], check=True)


def test_airflow_gives_its_commands_one() -> None:
    text = (ROOT / "orchestration" / "dags" / "playlake_orchestration" / "command.py").read_text()
    assert f'LIFELINE = "{VARIABLE}"' in text


@contextmanager
def holding(database: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has the file open."""
    code = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(database), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


@pytest.fixture
def local(tmp_path: Path) -> Local:
    made = Local(Warehouse.settings_at(tmp_path), tmp_path)
    with duckdb.connect(str(made.database)) as connection:
        connection.execute("create table there as select 1 as one")
    return made


def test_a_build_ends_the_dbt_that_a_dead_one_has_left(local: Local) -> None:
    with holding(local.database, "playlake.warehouse.dbt_child") as left:
        with local._opened() as connection:
            assert connection.execute("from there").fetchall() == [(1,)]
        assert wait_for(lambda: left.poll() is not None)


def test_who_else_has_the_file_is_named_and_left_alone(local: Local) -> None:
    with holding(local.database) as other:
        told = rf"is held by process {other.pid} \(.*python.*kill {other.pid}"
        with pytest.raises(PlaylakeError, match=told), local._opened():
            pass
        assert other.poll() is None
