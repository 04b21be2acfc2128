"""Fixtures that every level shares: a clean environment, and one real embedded stack for a whole session."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from playlake.settings import Settings, load_settings
from playlake.stack import EmbeddedStack, attach
from tests.containers import servers
from tests.scheduling import Scheduling, ordered
from tests.support import lake_of_its_own

# Started in the background by a shell, Ctrl-C would be ignored by all that the tests start; they are to heed it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first."""
    ordered(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    """Replaces ``--dist loadfile``; other ways of ``--dist`` stay."""
    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the person who runs the tests reaches them, neither a variable nor a ``.env``."""
    for name in list(os.environ):
        if name.startswith(("PLAYLAKE_", "SNOWFLAKE_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def session_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder of the session's stack."""
    return tmp_path_factory.mktemp("home")


def embedded(home: Path, **overrides: Any) -> Settings:
    """Settings of an embedded stack below ``home``, whatever the environment says."""
    return load_settings(_env_file=None, home=home, min_free_mb=0, **overrides)


@pytest.fixture(scope="session")
def stack_settings(session_home: Path) -> Iterator[Settings]:
    """Settings of a running embedded stack (real Tansu, SeaweedFS and Valkey), shared by the session."""
    variables = {n: os.environ.pop(n) for n in list(os.environ) if n.startswith("PLAYLAKE_")}
    settings = embedded(session_home)
    stack = EmbeddedStack(settings)
    stack.up()
    try:
        yield attach(settings)
    finally:
        stack.down()
        os.environ.update(variables)
        shutil.rmtree(session_home, ignore_errors=True)


@pytest.fixture(scope="session")
def container_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of Redpanda, MinIO and Redis in containers of the session's own."""
    servers.require_docker()
    with servers.running(tmp_path_factory.mktemp("containers")) as settings:
        yield settings


@pytest.fixture
def lake_settings(stack_settings: Settings, tmp_path: Path) -> Settings:
    """The session's stack with a bucket and a home of its own, so that tests do not see each other's lakes.

    The topics are the session's: they are shared, and so is what was produced to them before.
    """
    return lake_of_its_own(stack_settings, tmp_path)
