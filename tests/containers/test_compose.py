"""The very compose file that users run: brought up, used through its public ports, restarted, killed, taken down."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from playlake.settings import ROOT
from playlake.stack import ports
from tests.containers.servers import require_docker
from tests.support import make_export, wait_for

pytestmark = pytest.mark.timeout(1500)

PORTS = ("KAFKA_PORT", "S3_PORT", "S3_CONSOLE_PORT", "REDIS_PORT", "API_PORT", "DASHBOARD_PORT")
SERVICES = ("broker", "store", "cache", "writer", "feed", "builder", "api", "dashboard")


class Stack:
    """One compose project with an environment file, an inbox and ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.inbox = folder / "inbox"
        self.env_file = folder / "env"
        self.name = f"playlake-test-{os.getpid()}"
        self.ports = dict(zip(PORTS, ports.choose(len(PORTS)), strict=True))
        own = {"STACK_NAME": self.name, "STACK_ENV_FILE": self.env_file, "INBOX": self.inbox, "STACK_MIN_FREE_MB": 1024}
        self.env = {**os.environ, **{n: str(v) for n, v in {**own, **self.ports, "REFRESH_EVERY": "5s"}.items()}}

    def script(self, *args: str, check: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(ROOT / "scripts" / "stack.sh"), *args], env={**self.env, **env}, capture_output=True, text=True
        )
        if check is not None:
            assert done.returncode == check, done.stdout + done.stderr[-4000:]
        return done

    def compose(self, *args: str, check: bool = True) -> str:
        command = ["docker", "compose", "--env-file", str(self.env_file), "-f", str(ROOT / "compose" / "compose.yaml")]
        done = subprocess.run(
            [*command, *args], env={**self.env, "COMPOSE_PROFILES": "builder"}, capture_output=True, text=True
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr[-4000:]
        return done.stdout

    def playlake(self, *args: str) -> Any:
        return json.loads(self.compose("exec", "-T", "builder", "playlake", *args, "--json"))

    def states(self) -> dict[str, tuple[str, str]]:
        rows = [json.loads(line) for line in self.compose("ps", "--all", "--format", "json").splitlines()]
        return {row["Service"]: (row["State"], row["Health"]) for row in rows}

    def get(self, port: str, path: str) -> tuple[int, bytes]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[port]}{path}", timeout=10) as answer:
            return answer.status, answer.read()

    def all_healthy(self) -> bool:
        return self.states() == dict.fromkeys(SERVICES, ("running", "healthy"))

    def whole(self) -> Any:
        """What the verifier finds, which must be nothing."""
        report = self.playlake("lake", "verify")
        assert (report["lost"], report["doubled"], report["unreadable"], report["misplaced"]) == (0, 0, 0, 0)
        return report


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    require_docker()
    made = Stack(tmp_path_factory.mktemp("compose"))
    try:
        made.script("up")
        yield made
    finally:
        made.compose("down", "--volumes", "--remove-orphans", "--timeout", "5", check=False)


def landed(report: Any) -> int:
    return sum(p["in_bronze"] for p in report["partitions"])


def test_up_ends_with_the_urls_of_what_shows_data(stack: Stack) -> None:
    again = stack.script("up")  # a second time is a no-op
    assert f"http://127.0.0.1:{stack.ports['DASHBOARD_PORT']}" in again.stdout
    assert stack.all_healthy()
    assert json.loads(stack.get("API_PORT", "/health")[1])["cache"] == "ok"
    assert stack.get("DASHBOARD_PORT", "/")[0] == 200
    assert stack.playlake("wait")["plays"] >= 20_000
    assert stack.playlake("status")["servers"][0]["state"] == "running"


def test_secrets_are_random_and_private(stack: Stack) -> None:
    assert stack.env_file.stat().st_mode & 0o077 == 0
    secrets = dict(line.split("=", 1) for line in stack.env_file.read_text().splitlines() if "=" in line)
    assert {"S3_ACCESS_KEY", "S3_SECRET_KEY", "REDIS_PASSWORD"} == set(secrets)
    assert all(len(value) > 20 for value in secrets.values())


def test_ports_are_on_loopback_only(stack: Stack) -> None:
    names = stack.compose("ps", "-q").split()
    found = json.loads(subprocess.run(["docker", "inspect", *names], capture_output=True, text=True, check=True).stdout)
    bound = [b["HostIp"] for c in found for bs in c["NetworkSettings"]["Ports"].values() for b in bs or []]
    assert len(bound) == len(PORTS)
    assert set(bound) == {"127.0.0.1"}


def test_our_services_run_without_rights(stack: Stack) -> None:
    for service in ("writer", "feed", "builder", "api", "dashboard"):
        (found,) = json.loads(
            subprocess.run(
                ["docker", "inspect", stack.compose("ps", "-q", service).strip()], capture_output=True, check=True
            ).stdout
        )
        assert found["HostConfig"]["ReadonlyRootfs"]
        assert found["HostConfig"]["CapDrop"] == ["ALL"]
        assert not found["HostConfig"]["CapAdd"]
        assert found["HostConfig"]["Memory"] > 0
        status = Path(f"/proc/{found['State']['Pid']}/status").read_text()
        assert "\nUid:\t0" not in status
        assert "\nCapEff:\t0000000000000000" in status


def test_the_image_holds_no_secret_and_no_build_tool(stack: Stack) -> None:
    tools = "for t in pip pip3 uv gcc cc make weed tansu valkey-server; do command -v $t; done; true"
    assert stack.compose("exec", "-T", "api", "sh", "-c", tools) == ""
    assert stack.compose(
        "exec", "-T", "api", "python", "-c", "import importlib.util as u; print(u.find_spec('pip'))"
    ) == ("None\n")
    found = stack.compose("exec", "-T", "api", "sh", "-c", "find / -xdev -name '.env*' -type f 2>/dev/null; true")
    assert found == ""
    history = subprocess.run(
        ["docker", "history", "--no-trunc", "playlake:local"], capture_output=True, text=True, check=True
    ).stdout
    secrets = [line.split("=", 1)[1] for line in stack.env_file.read_text().splitlines() if "=" in line]
    assert not any(secret in history for secret in secrets)


def test_an_export_in_the_inbox_is_imported_and_has_its_receipt(stack: Stack, tmp_path: Path) -> None:
    made = make_export(tmp_path / "export", 500)
    shutil.move(made, stack.inbox / "export")
    receipt = stack.inbox / "export.receipt.json"
    wait_for(receipt.exists, 120)
    told = json.loads(receipt.read_text())
    assert told["read"] == 500 == told["produced"] + told["refused"]


def test_kill_9_of_each_container_comes_back_by_itself_and_loses_nothing(stack: Stack) -> None:
    before = landed(stack.whole())
    for service in SERVICES:
        container = stack.compose("ps", "-q", service).strip()
        pid = subprocess.run(
            ["docker", "inspect", "-f", "{{.State.Pid}}", container], capture_output=True, text=True, check=True
        ).stdout
        os.kill(int(pid), signal.SIGKILL)
        time.sleep(1)
        wait_for(stack.all_healthy, 180, every=1)
    wait_for(lambda: landed(stack.whole()) > before, 120, every=2)


def test_a_restart_of_the_whole_loses_nothing(stack: Stack) -> None:
    before = landed(stack.whole())
    stack.compose("restart", "--timeout", "10")
    wait_for(stack.all_healthy, 240, every=1)
    wait_for(lambda: landed(stack.whole()) > before, 120, every=2)


def test_down_leaves_nothing_running_and_up_again_keeps_the_data(stack: Stack) -> None:
    before = landed(stack.whole())
    stack.script("down")
    assert stack.compose("ps", "--all", "-q") == ""
    stack.script("up")
    assert landed(stack.whole()) >= before
    stack.whole()
