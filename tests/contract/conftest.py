"""The servers that the contract suites are asked of: ``--stack embedded`` or ``--stack containers``."""

from __future__ import annotations

import pytest

from playlake.settings import Settings


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> Settings:
    """Running servers."""
    return request.getfixturevalue(
        {"embedded": "stack_settings", "containers": "container_settings"}[request.config.getoption("--stack")]
    )
