"""Compactors killed, frozen and beside each other: readers and writers see every row exactly once throughout."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from playlake import failpoints
from playlake.lake.store import Store
from playlake.settings import Settings
from playlake.warehouse import duck
from tests.support.commands import Cli, stopped
from tests.support.hourly import Lake
from tests.support.lakes import addressed
from tests.support.waiting import wait_for


class RacedLake(Lake):
    """The same with compactors in processes of their own, and readers beside them."""

    def start(self, failpoint: str | None = None) -> subprocess.Popen[str]:
        """``playlake lake compact`` in a process of its own, on this lake."""
        cli = Cli(self.settings.home_path)
        cli.env |= addressed(self.settings).environment() | ({failpoints.VARIABLE: failpoint} if failpoint else {})
        return cli.start("lake", "compact", "--json")

    @contextmanager
    def read_all_along(self) -> Iterator[list[int]]:
        """Readers that poll meanwhile, each row exactly once and never fewer than landed before; the counts seen."""
        before = sum(self.landed.values())
        seen: list[int] = []
        wrong: list[str] = []
        done = threading.Event()

        def poll(look: Callable[[], tuple[int, int]]) -> None:
            while not done.is_set():
                rows, different = look()
                seen.append(rows)
                if rows != different or rows < before:
                    wrong.append(f"{rows} rows, {different} different, {before} landed before")

        with duck.connect(self.settings) as connection:

            def by_duckdb() -> tuple[int, int]:
                found = connection.execute(
                    "select count(*), count(distinct (_kafka_topic_id, _kafka_partition, _kafka_offset))"
                    f" from delta_scan('{self.uri}')"
                ).fetchall()
                return int(found[0][0]), int(found[0][1])

            def by_polars() -> tuple[int, int]:
                keys = self.keys()
                return sum(keys.values()), len(keys)

            readers = [threading.Thread(target=poll, args=(look,)) for look in (by_duckdb, by_polars)]
            for reader in readers:
                reader.start()
            try:
                yield seen
            finally:
                done.set()
                for reader in readers:
                    reader.join(60)
        assert wrong == []
        assert len(seen) > 1


@pytest.fixture
def lake(lake_settings: Settings) -> RacedLake:
    made = RacedLake(lake_settings)
    for _ in range(6):
        made.land(0, [0, 1, 2])
        made.land(1, [0, 1, 2])
    return made


def whole(lake: RacedLake) -> None:
    assert lake.keys() == lake.landed


def run(process: subprocess.Popen[str], code: int = 0) -> Any:
    """Wait for a compaction; what it did to plays."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert "Traceback" not in err, err
    return json.loads(out)["compacted"]["bronze/plays"] if out else None


def test_many_compactors_beside_a_writer_lose_and_double_nothing(lake: RacedLake) -> None:
    with lake.read_all_along():
        compactors = [lake.start() for _ in range(4)]
        while any(c.poll() is None for c in compactors):  # late rows into hours that are being compacted, and new ones
            lake.land(0, [0, 1, 2, 9])
            lake.land(1, [1])
        done = [run(c) for c in compactors]
    assert sum(d["hours"] for d in done) >= 3
    assert sum(d["rows"] for d in done) >= 180
    whole(lake)
    lake.compact()
    assert set(lake.files().values()) == {1}
    whole(lake)


@pytest.mark.parametrize("where", ["compact-before-commit:2", "compact-after-commit:2", "checkpoint"])
def test_a_compactor_that_is_killed_leaves_a_whole_lake(lake: RacedLake, where: str) -> None:
    with lake.read_all_along():
        run(lake.start(where), -signal.SIGKILL)
        lake.land(0, [1])
    whole(lake)
    hours_done = {"compact-before-commit:2": 1, "compact-after-commit:2": 2, "checkpoint": 3}[where]
    assert list(lake.files().values()).count(1) == hours_done - (hours_done > 1)  # rows came late to the second
    run(lake.start())
    assert set(lake.files().values()) == {1}
    whole(lake)


@pytest.mark.parametrize("where", ["compact-before-commit:1:stop", "compact-after-commit:1:stop", "checkpoint:1:stop"])
def test_a_frozen_compactor_finds_another_was_there(lake: RacedLake, where: str) -> None:
    with lake.read_all_along():
        zombie = lake.start(where)
        wait_for(lambda: stopped(zombie))
        lake.land(0, [0, 1])
        other = run(lake.start())
        lake.land(1, [0])
        zombie.send_signal(signal.SIGCONT)
        done = run(zombie)
    whole(lake)
    if where.startswith("compact-before"):
        assert (other["hours"], done["hours"], done["left"]) == (3, 0, 3)
    lake.compact()
    assert set(lake.files().values()) == {1}
    whole(lake)


def test_what_a_killed_compactor_left_is_pruned(lake: RacedLake) -> None:
    run(lake.start("compact-before-commit"), -signal.SIGKILL)
    left = [k for k in Store(lake.settings).keys("bronze/plays") if "compacted" in k]
    assert len(left) == 1
    assert lake.table.prune(1) == [], "it is too young"
    assert [f"bronze/plays/{p}" for p in lake.table.prune(0)] == left
    whole(lake)
