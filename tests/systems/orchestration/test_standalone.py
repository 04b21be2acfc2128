"""``make airflow``: a scheduler that runs the DAGs by itself, from an export in the inbox to gold."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from playlake.stack import ports
from tests.support.commands import Cli, end
from tests.support.exports import age, make_export
from tests.support.lakes import plays_of
from tests.support.modules import module_at
from tests.support.orchestration import LAUNCHER, at_work, launch
from tests.support.waiting import DEADLINE_S, wait_for

SCHEDULER_DEADLINE_S = 1200.0
"""For the whole of a scheduler's first runs: some thirty tasks, each a process that imports Airflow."""


@pytest.mark.timeout(1800)
def test_from_the_inbox_to_gold_by_the_scheduler_alone(launcher_cli: Cli, tmp_path: Path) -> None:
    cli = launcher_cli
    shutil.move(age(make_export(tmp_path / "made", 700, seed=31)), tmp_path / "inbox" / "export")
    port = ports.choose(1)[0]
    launcher = launch(cli, AIRFLOW_PORT=str(port), ORCHESTRATION_RETRY_DELAY_S="1")
    airflow = at_work(launcher)
    assert airflow.url == f"http://127.0.0.1:{port}"
    wait_for(airflow.all_unpaused, every=2)

    def built() -> bool:
        """The hourly run is due at once, and the asset that it updates starts a build."""
        assert launcher.poll() is None
        states = airflow.runs("spotify_ingestion") + airflow.runs("warehouse_transformation", "asset_triggered")
        assert "failed" not in states
        return states == ["success", "success"]

    wait_for(built, SCHEDULER_DEADLINE_S, every=4)
    refused = json.loads((tmp_path / "inbox" / "export.receipt.json").read_text())["refused"]
    assert plays_of(cli, "scheduled") == 700 - refused
    family = psutil.Process(launcher.pid).children(recursive=True)
    assert len(family) > 3
    listening = set()
    for process in family:
        with suppress(psutil.NoSuchProcess):  # a task that has just ended
            listening |= {c.laddr.ip for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    done = end(launcher, signal.SIGTERM)
    assert done.code == 0, done.err
    assert psutil.wait_procs(family, timeout=DEADLINE_S)[1] == []
    assert cli.processes() == []


@pytest.mark.parametrize("text", ["", "many", "[]", '{"airflow": "x"}'])
def test_a_damaged_list_of_ports_is_as_good_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.delenv("AIRFLOW_PORT", raising=False)
    (tmp_path / "ports.json").write_text(text)
    launcher = module_at(LAUNCHER)
    port = launcher.chosen_port(tmp_path)
    assert ports.is_free(port)
    assert launcher.chosen_port(tmp_path) == port


def test_a_port_that_is_taken_and_one_that_is_none(launcher_cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for given, says, code in ((str(port), f"Port {port} is taken", 1), ("many", "is no port", 2)):
            launcher = launch(launcher_cli, AIRFLOW_PORT=given)
            out, err = launcher.communicate()
            assert (launcher.returncode, out) == (code, "")
            assert says in err
            assert "AIRFLOW_PORT" in err
            assert len(err.splitlines()) == 1
    assert launcher_cli.processes() == []
    assert os.environ.get("AIRFLOW_PORT") is None
