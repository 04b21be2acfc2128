"""The servers that the contract suites are asked of: ``--stack embedded`` or ``--stack containers``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from playlake.settings import Settings
from tests.systems.containers import servers


@pytest.fixture(scope="session")
def container_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of Redpanda, MinIO and Redis in containers of the session's own."""
    servers.require_docker()
    with servers.running(tmp_path_factory.mktemp("containers")) as settings:
        yield settings


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> Settings:
    """Running servers."""
    return request.getfixturevalue(
        {"embedded": "stack_settings", "containers": "container_settings"}[request.config.getoption("--stack")]
    )
