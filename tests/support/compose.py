"""The compose file that users run, as a project of a test's own, used through ``scripts/stack.sh`` and its ports."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playlake.settings import ROOT
from playlake.stack import ports
from tests.support.containers import image, require_docker
from tests.support.orchestration import Airflow
from tests.support.waiting import DEADLINE_S

PORTS = ("KAFKA_PORT", "S3_PORT", "S3_CONSOLE_PORT", "REDIS_PORT", "API_PORT", "DASHBOARD_PORT", "AIRFLOW_PORT")
COMMON = ("broker", "store", "cache", "writer", "feed", "api", "dashboard")
SERVICES = (*COMMON, "builder")
ORCHESTRATED = (*COMMON, "metadata", "scheduler", "orchestrator", "dag-processor")
QUICK = {"REFRESH_EVERY": "15s", "FLUSH_SECONDS": "3"}


class Stack:
    """One compose project with an environment file, an inbox and ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.inbox = folder / "inbox"
        self.env_file = folder / "env"
        self.name = f"playlake-test-{os.getpid()}"
        self.ports = dict(zip(PORTS, ports.choose(len(PORTS)), strict=True))
        own = {"STACK_NAME": self.name, "STACK_ENV_FILE": self.env_file, "INBOX": self.inbox, "STACK_MIN_FREE_MB": 1024}
        self.env = {**os.environ, **{n: str(v) for n, v in {**own, **self.ports, **QUICK}.items()}}

    def script(self, *args: str, **env: str) -> str:
        """Run ``scripts/stack.sh`` to its end; its standard output."""
        return _run([str(ROOT / "scripts" / "stack.sh"), *args], self.env | env)

    def compose(self, *args: str) -> str:
        """Run ``docker compose`` on the project, with all profiles; its standard output."""
        command = ["docker", "compose", "--env-file", str(self.env_file), "-f", str(ROOT / "compose" / "compose.yaml")]
        return _run([*command, *args], self.env | {"COMPOSE_PROFILES": "*"})

    def playlake(self, *args: str, service: str = "writer") -> Any:
        """Run a command of playlake inside a service; its ``--json``."""
        return json.loads(self.compose("exec", "-T", service, "playlake", *args, "--json"))

    def shown(self) -> Any:
        """What the dashboard shows: the version of the build and its plays."""
        return self.playlake("wait", service="api")

    def states(self) -> dict[str, tuple[str, str]]:
        """By service, whether its container runs and is healthy."""
        columns = '{{.Label "com.docker.compose.service"}} {{.State}} {{.Status}}'
        found = {}
        for line in docker("ps", "--all", "--filter", self.label, "--format", columns).splitlines():
            service, state, status = line.split(" ", 2)
            health = re.search(r"\((?:health: )?(\w+)\)", status) if state == "running" else None
            found[service] = (state, health[1] if health else "")
        return found

    def all_healthy(self, services: tuple[str, ...] = SERVICES) -> bool:
        """Whether these services run and are healthy, and no other is there."""
        return self.states() == dict.fromkeys(services, ("running", "healthy"))

    @property
    def label(self) -> str:
        """Docker's filter for what belongs to the project."""
        return f"label=com.docker.compose.project={self.name}"

    def url(self, port: str, path: str = "") -> str:
        """The address of a published port."""
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    def get(self, port: str, path: str) -> bytes:
        """The body of a successful answer."""
        with urllib.request.urlopen(self.url(port, path), timeout=DEADLINE_S) as answer:
            return bytes(answer.read())

    def secrets(self) -> dict[str, str]:
        """The secrets that ``make up`` has made."""
        return dict(line.split("=", 1) for line in self.env_file.read_text().splitlines() if "=" in line)

    def airflow(self) -> Airflow:
        """Airflow's API, logged in."""
        return Airflow(self.url("AIRFLOW_PORT"), "admin", self.secrets()["AIRFLOW_PASSWORD"])

    def inspect(self, service: str) -> Any:
        """What Docker knows of a service's container."""
        (found,) = json.loads(docker("inspect", self.compose("ps", "-q", service).strip()))
        return found

    def bound(self) -> list[str]:
        """The addresses of all ports that the stack opens on this machine."""
        found = json.loads(docker("inspect", *self.compose("ps", "-q").split()))
        return [b["HostIp"] for c in found for bs in c["NetworkSettings"]["Ports"].values() for b in bs or []]

    def verified(self) -> int:
        """Rows in bronze, once ``lake verify`` has found the lake whole."""
        report = self.playlake("lake", "verify")
        assert (report["lost"], report["doubled"], report["unreadable"], report["misplaced"]) == (0, 0, 0, 0)
        return sum(p["in_bronze"] for p in report["partitions"])

    def left(self) -> list[str]:
        """Containers, volumes and networks of the project."""
        listings = (("ps", "--all"), ("volume", "ls"), ("network", "ls"))
        return [found for what in listings for found in docker(*what, "--quiet", "--filter", self.label).split()]


@contextmanager
def stack_up(folder: Path) -> Iterator[tuple[Stack, str]]:
    """A project that ``make up`` has started from nothing, and what that printed; nothing of it is left at the end."""
    require_docker()
    made = Stack(folder)
    try:
        yield made, made.script("up")
    finally:
        if made.env_file.exists():
            made.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
        assert made.left() == []


def assert_without_rights(stack: Stack, *services: str) -> None:
    """These services run as no root, with no capability, on a read-only file system, with a limit of memory."""
    for service in services:
        found = stack.inspect(service)
        assert found["HostConfig"]["ReadonlyRootfs"]
        assert found["HostConfig"]["CapDrop"] == ["ALL"]
        assert not found["HostConfig"]["CapAdd"]
        assert found["HostConfig"]["Memory"] > 0
        status = Path(f"/proc/{found['State']['Pid']}/status").read_text()
        assert "\nUid:\t0" not in status
        assert "\nCapEff:\t0000000000000000" in status


def assert_clean_image(stack: Stack, name: str) -> None:
    """An image holds no build tool and no secret: every file of it is looked at, and how it was made."""
    run = ("run", "--rm", "--network", "none", "--entrypoint", "sh", name, "-c")
    tools = "for t in pip pip3 uv gcc g++ cc make git curl weed tansu valkey-server; do command -v $t; done; true"
    assert docker(*run, tools) == ""
    programs = "for p in /opt/*/bin/python; do $p -c 'import importlib.util as u; print(u.find_spec(\"pip\"))'; done"
    assert set(docker(*run, programs).split()) == {"None"}
    private = (
        "find / -xdev -type f \\( -name '.env*' -o -name '*.pem' -o -name 'id_rsa*' -o -name '*.p8' -o -name '.netrc'"
        " -o -name 'pip.conf' -o -name 'secrets.json' \\) 2>/dev/null | grep -v -e /site-packages/ -e /etc/ssl/ -e"
        " /usr/share/ -e /usr/lib/python3/ -e /usr/local/lib/; true"
    )
    assert docker(*run, private) == ""
    made = docker("history", "--no-trunc", name) + docker("inspect", name)
    searched = []
    for variable, secret in stack.secrets().items():
        assert secret not in made, variable
        searched.append(f"grep -rlF -e {secret} /app /opt/playlake/bin /var /etc /home /root /tmp && echo {variable}")
    assert docker(*run, f"({'; '.join(searched)}; true) 2>/dev/null") == ""
    assert json.loads(docker("inspect", "-f", "{{json .Config.User}}", name)) == "10001:0"
    assert docker(*run, "find / -xdev -perm -4000 -user root -path '/opt/*'; find /app -writable | head -3") == ""


def base_image() -> str:
    """The image from which ours are made."""
    return image("PYTHON_IMAGE")


def docker(*args: str) -> str:
    """Run ``docker``; its standard output."""
    return _run(["docker", *args], dict(os.environ))


def _run(command: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr[-4000:]}"
    return done.stdout
