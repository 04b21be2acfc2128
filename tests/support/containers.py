"""Real servers in containers (testcontainers), of the images that the compose file names."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from playlake.settings import ROOT, Settings, load_settings
from tests.support.commands import Cli

REQUIRED = "TEST_CONTAINERS"
"""Environment variable: `required` makes tests fail, where they would be left out for want of Docker."""

COMPOSE = ROOT / "compose" / "compose.yaml"


def image(variable: str) -> str:
    """The default of one of the compose file's image variables."""
    found = re.search(rf"\$\{{{variable}:-([^}}]+)\}}", COMPOSE.read_text())
    assert found, variable
    return os.environ.get(variable, found[1])


def require_docker() -> None:
    """Leave the test out where no Docker answers, unless containers are required."""
    # By its command: the Python client leaves a socket open where the daemon is down, and warnings are errors.
    try:
        asked = subprocess.run(["docker", "version"], capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        why = "there is no docker command"
    else:
        if asked.returncode == 0:
            return
        why = asked.stderr.strip()
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(f"containers are required, and Docker does not answer: {why}")
    pytest.skip("Docker does not answer here")


@pytest.fixture(scope="session")
def container_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of Redpanda, MinIO and Redis in containers of the session's own."""
    require_docker()
    with running(tmp_path_factory.mktemp("containers")) as settings:
        yield settings


class ContainerCli(Cli):
    """``playlake`` on the containers, with a lake of its own."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.home)
        settings.home.parent.mkdir(parents=True, exist_ok=True)
        self.own = settings
        self.env |= settings.environment()

    def settings(self) -> Settings:
        return self.own


def publishing(port: int) -> str:
    """The id of the container that has this port of the machine's, on IPv4.

    Docker's own filter ``publish`` takes IPv6 in too, where another container may have a port of the same number.
    """
    form = "{{.ID}} {{.Ports}}"
    listed = subprocess.run(["docker", "ps", "--format", form], capture_output=True, text=True, check=True).stdout
    (found,) = (line.split()[0] for line in listed.splitlines() if re.search(rf"\d\.\d+:{port}->", line))
    return found


@contextmanager
def running(home: Path) -> Iterator[Settings]:
    """Redpanda, MinIO and Redis, each in a container; the settings to use them with."""
    from testcontainers.community.kafka import RedpandaContainer
    from testcontainers.community.minio import MinioContainer
    from testcontainers.community.redis import RedisContainer

    with ExitStack() as started:
        broker = RedpandaContainer(image("BROKER_IMAGE"))
        started.callback(broker.stop)
        broker.start(timeout=120)
        store = started.enter_context(MinioContainer(image("STORE_IMAGE"), secret_key="of-a-test-only"))
        cache = started.enter_context(RedisContainer(image("CACHE_IMAGE"), password="of-a-test-only"))
        yield load_settings(
            _env_file=None,
            profile="containers",
            home=home,
            kafka_bootstrap=broker.get_bootstrap_server(),
            s3_endpoint=f"http://{store.get_config()['endpoint']}",
            s3_access_key=store.access_key,
            s3_secret_key=store.secret_key,
            redis_url=f"redis://:{cache.password}@{cache.get_container_host_ip()}:{cache.get_exposed_port(6379)}/0",
        )
