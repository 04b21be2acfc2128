"""What several contracts are asked of."""

from __future__ import annotations

import pytest

from playlake.settings import Settings


@pytest.fixture(params=["embedded", "containers"])
def settings(request: pytest.FixtureRequest) -> Settings:
    """Running servers of each kind."""
    return request.getfixturevalue({"embedded": "stack_settings", "containers": "container_settings"}[request.param])
