"""``make airflow``: Airflow standalone with the DAGs unpaused, on the embedded stack, until Ctrl-C.

Runs in playlake's environment and starts Airflow from its own. Airflow's state, secrets and logs are below
``PLAYLAKE_HOME``; what was started here is stopped at the end, and nothing else. These are the processes of
``airflow standalone`` but for the triggerer, which no task here needs, and for the servers of logs, which would listen
on every address.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from playlake.cli.common import err, progress
from playlake.errors import PlaylakeError, UsageError
from playlake.settings import ROOT, Settings, load_settings
from playlake.stack import EmbeddedStack, ports

PORT = "AIRFLOW_PORT"
_READY_S = 180.0


def private(path: Path, make: Any) -> Any:
    """What a JSON file readable by its owner only holds; made by ``make`` where there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(make(), file)
    return json.loads(path.read_text())


def chosen_port(home: Path) -> int:
    """The port that ``AIRFLOW_PORT`` names, or the one of last time, 8080, or a free one.

    :raises PlaylakeError: when the one named is taken or no port.
    """
    if given := os.environ.get(PORT):
        if not given.isdigit() or not 0 < int(given) < 65536:
            raise UsageError(f"{PORT}={given} is no port. Write a number from 1 to 65535, or leave it out.")
        if not ports.is_free(int(given)):
            raise PlaylakeError(
                f"Port {given} is taken{ports.holder(int(given))}. End that program, or set another {PORT}."
            )
        return int(given)
    known = home / "port"
    for port in [int(known.read_text())] if known.exists() else [8080]:
        if ports.is_free(port):
            return port
    port = ports.choose(1)[0]
    known.write_text(str(port))
    return port


def environment(home: Path, settings: Settings, port: int) -> dict[str, str]:
    """Airflow's variables, secrets included."""
    keys = private(home / "secrets.json", lambda: {"jwt": secrets.token_hex(32), "api": secrets.token_hex(32)})
    url = f"http://{ports.LOOPBACK}:{port}"
    return {
        **os.environ,
        "PATH": f"{ROOT / '.venv-airflow' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
        "PLAYLAKE_HOME": str(settings.home_path),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(ROOT / "orchestration" / "airflow.cfg"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "orchestration" / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__SECRET_KEY": keys["api"],
        "AIRFLOW__API_AUTH__JWT_SECRET": keys["jwt"],
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
    }


def healthy(port: int) -> bool:
    """Whether scheduler and DAG processor are at work."""
    try:
        with urllib.request.urlopen(f"http://{ports.LOOPBACK}:{port}/api/v2/monitor/health", timeout=5) as answer:
            found = json.load(answer)
    except (OSError, ValueError):
        return False
    return all((found.get(part) or {}).get("status") == "healthy" for part in ("scheduler", "dag_processor"))


COMPONENTS = {
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "api-server": ("api-server",),
}


@contextmanager
def airflow(variables: dict[str, str], logs: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Airflow's processes by name, in sessions of their own; all are ended at the end."""
    program = str(ROOT / ".venv-airflow" / "bin" / "airflow")
    started: dict[str, subprocess.Popen[bytes]] = {}

    def start(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (logs / f"{name}.log").open("ab") as file:
            return subprocess.Popen(
                [program, *arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=variables,
                start_new_session=True,
            )

    try:
        migrating = started["migration"] = start("migration", "db", "migrate")
        if migrating.wait():
            raise PlaylakeError(f"Airflow's database could not be made. {_end_of(logs, 'migration')}")
        del started["migration"]
        for name, arguments in COMPONENTS.items():
            started[name] = start(name, *arguments)
        yield started
    finally:
        family = [one for process in started.values() for one in _family(process.pid)]
        for process in started.values():
            process.terminate()
        _, alive = psutil.wait_procs(family, timeout=20)
        for one in alive:
            one.kill()
        for process in started.values():
            process.wait()


def _end_of(logs: Path, name: str) -> str:
    path = logs / f"{name}.log"
    return "\n".join([f"The end of {path}:", *path.read_text(errors="replace").splitlines()[-8:]])


def _family(pid: int) -> list[psutil.Process]:
    try:
        head = psutil.Process(pid)
        return [head, *head.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _ended(started: dict[str, subprocess.Popen[bytes]], logs: Path) -> None:
    """See that all run."""
    for name, process in started.items():
        if process.poll() is not None:
            raise PlaylakeError(f"Airflow's {name} has ended by itself. {_end_of(logs, name)}")


def run() -> None:
    """Start all, tell where it is, and serve until Ctrl-C."""
    settings = load_settings(by_a_person=True)
    home = settings.home_path / "airflow"
    home.mkdir(parents=True, exist_ok=True)
    port = chosen_port(home)
    passwords = private(home / "passwords.json", lambda: {"admin": secrets.token_urlsafe(12)})
    logs = home / "logs"
    logs.mkdir(exist_ok=True)
    # A shell may have switched it off, for Airflow too; and SIGTERM ends all just as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    stack = EmbeddedStack(settings) if settings.profile == "embedded" else None
    started_stack = stack is not None and all(row["state"] != "running" for row in stack.status())
    try:
        with progress() as say:
            if stack:
                stack.up(on_progress=say)
            say("starting Airflow")
            with airflow(environment(home, settings, port), logs) as started:
                until = time.monotonic() + _READY_S
                while not healthy(port):
                    _ended(started, logs)
                    if time.monotonic() > until:
                        raise PlaylakeError(f"Airflow is not ready after {_READY_S:.0f} s. See {logs}.")
                    time.sleep(0.5)
                print(f"Airflow  http://{ports.LOOPBACK}:{port}  (logs: {logs})")
                print(f"login    admin / {passwords['admin']}", flush=True)
                say("running until Ctrl-C")
                while True:
                    _ended(started, logs)
                    time.sleep(1)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    finally:
        if stack and started_stack:
            stack.down()


def main() -> None:
    """Run it, and say in a line what went wrong."""
    try:
        run()
    except PlaylakeError as error:
        err.print(f"playlake: {error}", markup=False)
        sys.exit(error.exit_code)


main()
