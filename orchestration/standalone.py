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
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import psutil

from playlake.cli.common import progress
from playlake.cli.main import answer_for
from playlake.errors import PlaylakeError, UsageError
from playlake.settings import ROOT, Settings, load_settings
from playlake.stack import EmbeddedStack, ports, process
from playlake.stack.process import Recorded

PORT = "AIRFLOW_PORT"
_READY_S = 600.0
"""A busy laptop starts Airflow in minutes; one that has ended by itself is seen at once."""
_RECORDS = "processes.json"


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
    given = os.environ.get(PORT) or "0"
    if not given.isdigit() or int(given) > 65535:
        raise UsageError(f"{PORT}={given} is no port. Write a number from 1 to 65535, or leave it out.")
    file = home / "ports.json"
    try:
        known = {"airflow": int(json.loads(file.read_text())["airflow"])}
    except (OSError, ValueError, KeyError, TypeError):
        known = {}  # it only spares a new bookmark
    port = ports.settle(known, "airflow", int(given), 8080, variable=PORT)
    file.write_text(json.dumps(known))
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


def healthy(port: int, *parts: str) -> bool:
    """Whether Airflow's API answers, tasks too, and says that these are at work.

    The first question to what tasks ask (``/execution``) takes it some 8 s, in which it answers nobody.
    """
    api = f"{ports.LOOPBACK}:{port}"
    try:
        urllib.request.urlopen(f"http://{api}/execution/health", timeout=5).close()
        with urllib.request.urlopen(f"http://{api}/api/v2/monitor/health", timeout=5) as answer:
            found = json.load(answer)
    except (OSError, ValueError):
        return False
    return all((found.get(part) or {}).get("status") == "healthy" for part in parts)


COMPONENTS = {
    "api-server": (("api-server",), "metadatabase"),
    "scheduler": (("scheduler", "--skip-serve-logs"), "scheduler"),
    "dag-processor": (("dag-processor",), "dag_processor"),
}
"""By name: its arguments, and what the health says of it. The API is the first, and answers before the others are
started: a task that finds none fails, and its next try is minutes away."""


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Airflow's home for this process only; what one that was killed has left running there is ended first.

    :raises PlaylakeError: when another one runs.
    """
    try:
        with filelock.FileLock(home / "lock", timeout=0):
            end_all(home)
            yield
    except filelock.Timeout as error:
        raise PlaylakeError(f"Airflow runs on {home} already. End that `make airflow` with Ctrl-C first.") from error


@contextmanager
def airflow(home: Path, variables: dict[str, str], port: int) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Airflow's processes by name, at work; all are ended at the end."""
    program = str(ROOT / ".venv-airflow" / "bin" / "airflow")
    until = time.monotonic() + _READY_S
    records: list[Recorded] = []
    started: dict[str, subprocess.Popen[bytes]] = {}

    def at_work(*parts: str) -> None:
        while not healthy(port, *parts):
            see_that_all_run(started, home)
            if time.monotonic() > until:
                raise PlaylakeError(f"Airflow is not ready after {_READY_S:.0f} s. See {home / 'logs'}.")
            time.sleep(0.5)

    def start(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        child = process.start(name, [program, *arguments], home=home, log=log_of(home, name), env=variables)
        records.append(Recorded.of(name, child.pid))
        (home / _RECORDS).write_text(json.dumps([record.dump() for record in records]))
        return child

    try:
        if start("migration", "db", "migrate").wait():
            raise PlaylakeError(f"Airflow's database could not be made. {_end_of(home, 'migration')}")
        for name, (arguments, _) in COMPONENTS.items():
            started[name] = start(name, *arguments)
            if name == "api-server":
                at_work()
        at_work(*(part for _, part in COMPONENTS.values()))
        yield started
    finally:
        end_all(home)


def end_all(home: Path) -> None:
    """End every process of Airflow on this home, be its launcher dead or not.

    They are known by their sessions: they give themselves other titles, which wipes out the environment by which
    playlake knows its own. What a task has started still has that.
    """
    try:
        records = [Recorded.load(data) for data in json.loads((home / _RECORDS).read_text())]
    except (OSError, ValueError, KeyError, TypeError):
        records = []
    since = {record.pid: record.created for record in records}
    found = process.leftovers(home, [])
    for one in psutil.process_iter(["create_time"]):
        try:
            began = since.get(os.getsid(one.pid))
        except OSError:
            continue  # it has ended
        if began is not None and one.info["create_time"] >= began - 1:
            found.append(one)
    process.stop(found, timeout_s=20)
    (home / _RECORDS).unlink(missing_ok=True)


def log_of(home: Path, name: str) -> Path:
    """Where a component's own words go."""
    return home / "logs" / f"{name}.log"


def _end_of(home: Path, name: str) -> str:
    return f"The end of {log_of(home, name)}:\n{process.tail(log_of(home, name))}"


def see_that_all_run(started: dict[str, subprocess.Popen[bytes]], home: Path) -> None:
    """:raises PlaylakeError: when one has ended by itself."""
    for name, child in started.items():
        if child.poll() is not None:
            raise PlaylakeError(f"Airflow's {name} has ended by itself. {_end_of(home, name)}")


def run() -> None:
    """Start all, tell where it is, and serve until Ctrl-C."""
    settings = load_settings(by_a_person=True)
    home = settings.home_path / "airflow"
    home.mkdir(parents=True, exist_ok=True)
    # A shell may have switched it off, for Airflow too; and SIGTERM ends all just as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    stack = EmbeddedStack(settings) if settings.profile == "embedded" else None
    started_stack = False
    try:
        with progress() as say, alone(home):
            port = chosen_port(home)
            passwords = private(home / "passwords.json", lambda: {"admin": secrets.token_urlsafe(12)})
            if stack:
                started_stack = all(row["state"] != "running" for row in stack.status())
                stack.up(on_progress=say)
            say("starting Airflow")
            with airflow(home, environment(home, settings, port), port) as started:
                print(f"Airflow  http://{ports.LOOPBACK}:{port}  (logs: {home / 'logs'})")
                print(f"login    admin / {passwords['admin']}", flush=True)
                say("running until Ctrl-C")
                while True:
                    see_that_all_run(started, home)
                    time.sleep(1)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    finally:
        if stack and started_stack:
            stack.down()


if __name__ == "__main__":
    answer_for(run)
