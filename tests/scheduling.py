"""In which order, and beside which others, `make test` runs the tests: files go to workers as wholes."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

NETWORK = ("browser", "containers", "contract")
"""Folders whose tests run one after another: each container that starts or ends changes the machine's network, and
Chromium then gives up what it is loading (ERR_NETWORK_CHANGED)."""

LONG = (
    "test_runs.py",
    "test_failures.py",
    "test_standalone.py",
    "test_stack.py",
    "test_bad_input.py",
    "test_writer.py",
    "test_keeping.py",
    "test_asked_by_an_orchestrator.py",
    "test_chaos.py",
    "test_path.py",
    "test_kills.py",
)
"""Files that take minutes, the longest first. They begin early: one that began last would be left for one worker."""

AIRFLOW = {"test_runs.py": 0, "test_standalone.py": 0, "test_failures.py": 1, "test_dags.py": 1}
"""Files of tests/orchestration on two workers: each Airflow is worth several processes, and waits for its tasks."""

PARTS = {"test_stack.py": 5, "test_bad_input.py": 7, "test_writer.py": 4}
"""Files whose tests share nothing that is dear to make: they go to so many workers, as it falls."""


def ordered(items: list[pytest.Item]) -> None:
    """Put those first that take long and can't be divided."""

    def rank(item: pytest.Item) -> int:
        if item.path.parent.name in NETWORK:
            return NETWORK.index(item.path.parent.name)
        where = LONG.index(item.path.name) if item.path.name in LONG else len(LONG)
        return len(NETWORK) + where + (item.path.parent.name == "unit")

    items.sort(key=rank)


class Scheduling(LoadFileScheduling):  # type: ignore[misc]
    """A file's tests on one worker, or in :data:`PARTS`; all of :data:`NETWORK` on one, of Airflow on two."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(str(super()._split_scope(nodeid)))
        if file.parent.name in NETWORK:
            return "network"
        if file.parent.name == "orchestration":
            return f"airflow {AIRFLOW.get(file.name, 0)}"
        return f"{file}#{zlib.crc32(nodeid.encode()) % PARTS.get(file.name, 1)}"
