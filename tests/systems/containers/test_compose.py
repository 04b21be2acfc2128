"""The very compose file that users run: brought up, used through its public ports, restarted, killed, taken down."""

from __future__ import annotations

import json
import os
import re
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
from tests.support.exports import make_export
from tests.support.waiting import wait_for
from tests.systems.containers.servers import image, require_docker
from tests.systems.orchestration.test_standalone import Airflow

pytestmark = pytest.mark.timeout(1500)

PORTS = ("KAFKA_PORT", "S3_PORT", "S3_CONSOLE_PORT", "REDIS_PORT", "API_PORT", "DASHBOARD_PORT", "AIRFLOW_PORT")
COMMON = ("broker", "store", "cache", "writer", "feed", "api", "dashboard")
SERVICES = (*COMMON, "builder")
QUICK = {"REFRESH_EVERY": "30s", "FLUSH_SECONDS": "3"}
"""A build takes a core for ten seconds, and the feed is news each time."""
ORCHESTRATED = (*COMMON, "metadata", "scheduler", "orchestrator", "dag-processor")


class Stack:
    """One compose project with an environment file, an inbox and ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.inbox = folder / "inbox"
        self.env_file = folder / "env"
        self.name = f"playlake-test-{os.getpid()}"
        self.ports = dict(zip(PORTS, ports.choose(len(PORTS)), strict=True))
        own = {"STACK_NAME": self.name, "STACK_ENV_FILE": self.env_file, "INBOX": self.inbox, "STACK_MIN_FREE_MB": 1024}
        self.env = {**os.environ, **{n: str(v) for n, v in {**own, **self.ports, **QUICK}.items()}}

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
            [*command, *args], env={**self.env, "COMPOSE_PROFILES": "*"}, capture_output=True, text=True
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr[-4000:]
        return done.stdout

    def playlake(self, *args: str) -> Any:
        return json.loads(self.compose("exec", "-T", "writer", "playlake", *args, "--json"))

    def states(self) -> dict[str, tuple[str, str]]:
        """By service, whether its container runs and is healthy."""
        columns = '{{.Label "com.docker.compose.service"}} {{.State}} {{.Status}}'
        out = _docker(
            *("ps", "--all", "--filter", f"label=com.docker.compose.project={self.name}", "--format", columns)
        )
        found = {}
        for service, state, status in (line.split(" ", 2) for line in out.splitlines()):
            health = re.search(r"\((?:health: )?(\w+)\)", status) if state == "running" else None
            found[service] = (state, health[1] if health else "")
        return found

    def get(self, port: str, path: str) -> tuple[int, bytes]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[port]}{path}", timeout=10) as answer:
            return answer.status, answer.read()

    def all_healthy(self, services: tuple[str, ...] = SERVICES) -> bool:
        return self.states() == dict.fromkeys(services, ("running", "healthy"))

    def come_back(self, services: tuple[str, ...] = SERVICES, seconds: float = 240) -> None:
        """Wait until all are healthy, for as long as that gets on: ``seconds`` from one change of any to the next."""
        before, since = self.states(), time.monotonic()
        while before != dict.fromkeys(services, ("running", "healthy")):
            time.sleep(2)
            if (now := self.states()) != before:
                before, since = now, time.monotonic()
            assert time.monotonic() - since < seconds, f"nothing has changed for {seconds} s: {now}"

    def secrets(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.env_file.read_text().splitlines() if "=" in line)

    def kill(self, service: str) -> None:
        """kill -9 of a container's first process, behind Docker's back."""
        container = self.compose("ps", "-q", service).strip()
        os.kill(int(_docker("inspect", "-f", "{{.State.Pid}}", container)), signal.SIGKILL)

    def died(self, since: float) -> list[tuple[str, int]]:
        """Services whose container has ended since, and its exit code."""
        out = _docker(
            *("events", "--since", f"{since:.3f}", "--until", f"{time.time():.3f}", "--filter", "event=die"),
            *("--filter", f"label=com.docker.compose.project={self.name}", "--format", "{{json .Actor.Attributes}}"),
        )
        found = [json.loads(line) for line in out.splitlines()]
        return [(one["com.docker.compose.service"], int(one["exitCode"])) for one in found]

    def whole(self) -> Any:
        """What the verifier finds, which must be nothing."""
        report = self.playlake("lake", "verify")
        assert (report["lost"], report["doubled"], report["unreadable"], report["misplaced"]) == (0, 0, 0, 0)
        return report


def _docker(*args: str) -> str:
    return subprocess.run(["docker", *args], capture_output=True, text=True, check=True).stdout


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
    assert json.loads(stack.compose("exec", "-T", "api", "playlake", "wait", "--json"))["plays"] >= 20_000
    assert stack.playlake("status")["servers"][0]["state"] == "running"


def test_secrets_are_random_and_private(stack: Stack) -> None:
    assert stack.env_file.stat().st_mode & 0o077 == 0
    secrets = stack.secrets()
    assert set(secrets) == {
        *("S3_ACCESS_KEY", "S3_SECRET_KEY", "REDIS_PASSWORD"),
        *("AIRFLOW_DB_PASSWORD", "AIRFLOW_SECRET_KEY", "AIRFLOW_PASSWORD"),
    }
    assert all(len(value) > 20 for value in secrets.values())
    assert len(set(secrets.values())) == len(secrets)


def test_ports_are_on_loopback_only(stack: Stack) -> None:
    assert set(bound(stack)) == {"127.0.0.1"}
    assert len(bound(stack)) == len(PORTS) - 1


def bound(stack: Stack) -> list[str]:
    """The addresses of all ports that the stack opens on this machine."""
    found = json.loads(_docker("inspect", *stack.compose("ps", "-q").split()))
    return [b["HostIp"] for c in found for bs in c["NetworkSettings"]["Ports"].values() for b in bs or []]


def test_our_services_run_without_rights(stack: Stack) -> None:
    assert_without_rights(stack, "writer", "feed", "builder", "api", "dashboard")


def assert_without_rights(stack: Stack, *services: str) -> None:
    for service in services:
        (found,) = json.loads(_docker("inspect", stack.compose("ps", "-q", service).strip()))
        assert found["HostConfig"]["ReadonlyRootfs"]
        assert found["HostConfig"]["CapDrop"] == ["ALL"]
        assert not found["HostConfig"]["CapAdd"]
        assert found["HostConfig"]["Memory"] > 0
        status = Path(f"/proc/{found['State']['Pid']}/status").read_text()
        assert "\nUid:\t0" not in status
        assert "\nCapEff:\t0000000000000000" in status


def test_the_image_holds_no_secret_and_no_build_tool(stack: Stack) -> None:
    assert_clean_image(stack, "playlake:local")
    with pytest.raises(AssertionError, match="pip"):
        assert_clean_image(stack, image("PYTHON_IMAGE"))  # what ours is made from: the scan sees what was left behind


def assert_clean_image(stack: Stack, name: str) -> None:
    """Scan what an image holds: every file of it, and how it was made."""
    run = ("run", "--rm", "--network", "none", "--entrypoint", "sh", name, "-c")
    tools = "for t in pip pip3 uv gcc g++ cc make git curl weed tansu valkey-server; do command -v $t; done; true"
    assert _docker(*run, tools) == ""
    programs = "for p in /opt/*/bin/python; do $p -c 'import importlib.util as u; print(u.find_spec(\"pip\"))'; done"
    assert set(_docker(*run, programs).split()) == {"None"}
    private = (
        "find / -xdev -type f \\( -name '.env*' -o -name '*.pem' -o -name 'id_rsa*' -o -name '*.p8' -o -name '.netrc'"
        " -o -name 'pip.conf' -o -name 'secrets.json' \\) 2>/dev/null | grep -v -e /site-packages/ -e /etc/ssl/ -e"
        " /usr/share/ -e /usr/lib/python3/ -e /usr/local/lib/; true"
    )
    assert _docker(*run, private) == ""
    made = _docker("history", "--no-trunc", name) + _docker("inspect", name)
    searched = []
    for variable, secret in stack.secrets().items():
        assert secret not in made, variable
        searched.append(f"grep -rlF -e {secret} /app /opt/playlake/bin /var /etc /home /root /tmp && echo {variable}")
    assert _docker(*run, f"({'; '.join(searched)}; true) 2>/dev/null") == ""
    assert json.loads(_docker("inspect", "-f", "{{json .Config.User}}", name)) == "10001:0"
    assert _docker(*run, "find / -xdev -perm -4000 -user root -path '/opt/*'; find /app -writable | head -3") == ""


def test_an_export_in_the_inbox_is_imported_and_has_its_receipt(stack: Stack, tmp_path: Path) -> None:
    made = make_export(tmp_path / "export", 500)
    shutil.move(made, stack.inbox / "export")
    receipt = stack.inbox / "export.receipt.json"
    wait_for(receipt.exists, 300)
    told = json.loads(receipt.read_text())
    assert told["read"] == 500 == told["produced"] + told["refused"]


def test_kill_9_of_each_container_comes_back_by_itself_and_loses_nothing(stack: Stack) -> None:
    before = landed(stack.whole())
    for service in SERVICES:
        stack.kill(service)
        time.sleep(1)
        stack.come_back()
    wait_for(lambda: landed(stack.whole()) > before, 120, every=5)


def test_a_restart_of_the_whole_loses_nothing(stack: Stack) -> None:
    before, since = landed(stack.whole()), time.time()
    stack.compose("restart", "--timeout", "20")
    killed = {service for service, code in stack.died(since) if code == 137} - {"store"}
    assert not killed, stack.compose("logs", "--tail", "20", *killed)  # the store's own time to end is not ours
    stack.come_back()
    wait_for(lambda: landed(stack.whole()) > before, 120, every=5)


def test_down_leaves_nothing_running_and_up_again_keeps_the_data(stack: Stack) -> None:
    before = landed(stack.whole())
    stack.script("down")
    assert stack.compose("ps", "--all", "-q") == ""
    stack.script("up")
    assert landed(stack.whole()) >= before
    stack.whole()


def test_airflow_in_the_builders_place(stack: Stack) -> None:
    before = json.loads(stack.compose("exec", "-T", "api", "playlake", "wait", "--json"))
    up = stack.script("up", PROFILES="orchestration")
    assert f"Airflow    http://127.0.0.1:{stack.ports['AIRFLOW_PORT']}" in up.stdout
    assert stack.all_healthy(ORCHESTRATED), "and the builder is gone"
    assert set(bound(stack)) == {"127.0.0.1"}
    assert_without_rights(stack, "scheduler", "orchestrator", "dag-processor")
    assert_clean_image(stack, "playlake-airflow:local")
    airflow = Airflow(f"http://127.0.0.1:{stack.ports['AIRFLOW_PORT']}", "admin", stack.secrets()["AIRFLOW_PASSWORD"])
    airflow.come_to(lambda: [d["is_paused"] for d in airflow.get("/dags")["dags"]] == [False] * 3)

    def asked_by_the_asset() -> list[Any]:
        return [r["state"] for r in airflow.runs("warehouse_transformation") if r["run_type"] == "asset_triggered"]

    airflow.come_to(lambda: "success" in asked_by_the_asset())
    after = json.loads(stack.compose("exec", "-T", "api", "playlake", "wait", "--json"))
    assert after["version"] > before["version"]
    assert after["plays"] > before["plays"]
    for service in ("scheduler", "orchestrator", "dag-processor", "metadata"):
        stack.kill(service)
        time.sleep(1)
        stack.come_back(ORCHESTRATED)
    stack.whole()
    stack.script("down")
    assert stack.compose("ps", "--all", "-q") == ""
