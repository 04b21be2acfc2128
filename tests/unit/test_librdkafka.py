"""What librdkafka may say itself: nothing, as all that matters is in our errors and logs."""

from __future__ import annotations

import socket

import pytest

from playlake.broker.client import client
from playlake.settings import load_settings
from tests.support.waiting import wait_for


@pytest.fixture
def nobody() -> str:
    """An address at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


def test_a_broker_that_is_away_is_told_by_us_alone(capfd: pytest.CaptureFixture[str], nobody: str) -> None:
    settings = load_settings(
        _env_file=None,
        profile="containers",
        kafka_bootstrap=nobody,
        kafka_timeout_s=1,
        s3_endpoint="http://127.0.0.1:1",
        s3_access_key="key",
        s3_secret_key="secret",
        redis_url="redis://127.0.0.1:1",
    )
    reasons: list[str] = []
    reader = client(settings, "group", lambda error: reasons.append(error.str()))
    wait_for(lambda: reader.consume(1, 0.1) or any("Connection refused" in r for r in reasons))
    reader.close()
    assert capfd.readouterr() == ("", "")
