"""Fixtures: one embedded stack for a worker's whole session, and lakes of a test's own on it."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient

from playlake import events
from playlake.broker import Admin
from playlake.settings import Settings, load_settings
from playlake.stack import EmbeddedStack, attach
from tests.support.commands import Cli
from tests.support.lakes import lake_of_its_own
from tests.support.reading import Reading

SESSION_S = 2
"""The embedded broker lets a member wait half of its session timeout before it assigns partitions."""


def embedded(home: Path, **overrides: Any) -> Settings:
    """Settings of an embedded stack below ``home``, whatever the environment says."""
    return load_settings(_env_file=None, home=home, min_free_mb=0, **overrides)


@pytest.fixture(scope="session")
def session_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder of the session's stack."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def stack_settings(session_home: Path) -> Iterator[Settings]:
    """Settings of a running embedded stack (real Tansu, SeaweedFS and Valkey), shared by the session."""
    variables = {n: os.environ.pop(n) for n in list(os.environ) if n.startswith("PLAYLAKE_")}
    settings = embedded(session_home, kafka_session_s=SESSION_S)
    stack = EmbeddedStack(settings)
    stack.up()
    try:
        yield attach(settings)
    finally:
        stack.down()
        os.environ.update(variables)
        shutil.rmtree(session_home, ignore_errors=True)


@pytest.fixture
def lake_settings(stack_settings: Settings, tmp_path: Path) -> Settings:
    """The session's stack with a bucket and a home of a test's own. Topics keep what other tests have produced."""
    return lake_of_its_own(stack_settings, tmp_path)


def lake_with_empty_topics(stack_settings: Settings, session_home: Path, folder: Path) -> Cli:
    """Commands on the session's servers, with a home, a bucket and (re-created) topics of their own."""
    settings = lake_of_its_own(stack_settings, folder)
    made = Cli(settings.home_path, s3_bucket=settings.s3_bucket, kafka_session_s=SESSION_S)
    made.home.mkdir()
    (made.home / "run").symlink_to(session_home / "run")  # the addresses and keys of the servers
    recreate_topics(stack_settings)
    return made


def recreate_topics(settings: Settings) -> None:
    """Delete playlake's topics and create them: they are empty then, and have other ids."""
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    with Admin(settings) as ours:
        if there := list(ours.topics(events.TOPICS)):
            admin.delete_topics(there)
        ours.ensure(events.TOPICS)
    admin.close()


@contextmanager
def stack_with_tables(home: Path, **settings: object) -> Iterator[Cli]:
    """An embedded stack of its own with empty tables, for tests that kill servers or use the default ports."""
    made = Cli(home, **settings)
    made("up")
    made("land", "--until-idle")  # makes the tables
    yield made
    made("down")
    assert made.processes() == []


@pytest.fixture(scope="module")
def cli(stack_settings: Settings, session_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """Commands on a lake that the tests of a module share: empty topics, empty tables."""
    made = lake_with_empty_topics(stack_settings, session_home, tmp_path_factory.mktemp("lake"))
    made("land", "--until-idle")  # makes the tables
    return made


@pytest.fixture
def own(stack_settings: Settings, session_home: Path, tmp_path: Path) -> Cli:
    """Commands on a lake of one test, with empty topics and no tables yet."""
    return lake_with_empty_topics(stack_settings, session_home, tmp_path)


@pytest.fixture
def topic(settings: Settings) -> str:
    """A topic of four partitions that nobody else uses, on the broker of the module's ``settings``."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    with Admin(settings) as admin:
        admin.ensure((name,))
    return name


@pytest.fixture
def read(settings: Settings, topic: str) -> Iterator[Callable[..., Reading]]:
    """Starts consumers of the topic, each in a group of its own or in the one named."""
    opened: list[Reading] = []

    def start(group: str | None = None, starts: dict[int, int] | None = None) -> Reading:
        opened.append(Reading(settings, topic, group or f"group-{uuid.uuid4().hex}", starts))
        return opened[-1]

    yield start
    for reading in opened:
        reading.consumer.close()


@pytest.fixture(autouse=True)
def no_command_left() -> Iterator[None]:
    """A test that fails leaves no process running but those of its module's fixtures."""
    before = list(Cli.started)
    yield
    while own := [process for process in Cli.started if process not in before]:
        process = own[-1]
        Cli.started.remove(process)
        process.kill()
        with process:  # closes its pipes
            pass


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the person who runs the tests reaches them, neither a variable nor a ``.env``."""
    for name in list(os.environ):
        if name.startswith(("PLAYLAKE_", "SNOWFLAKE_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
