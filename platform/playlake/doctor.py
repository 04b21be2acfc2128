"""What playlake needs of a machine, checked one by one."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from playlake.errors import PlaylakeError
from playlake.settings import ROOT, Settings
from playlake.stack import EmbeddedStack, servers
from playlake.warehouse import duck


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; ``text`` says what was found, and what to do when it is not ``ok``."""

    name: str
    ok: bool
    text: str


def examine(settings: Settings) -> list[Check]:
    """All checks; none raises, none changes anything but the home folder."""
    checks = [
        ("python", _python),
        ("broker program", lambda: _runs(servers.tansu(), "--version")),
        ("object store program", lambda: _runs(servers.weed(), "version")),
        ("cache program", lambda: _runs(servers.valkey(), "--version")),
        ("DuckDB extensions", _extensions),
        ("checkout", _checkout),
        ("home folder", lambda: _home(settings)),
        ("disk", lambda: _disk(settings)),
        ("servers", lambda: _servers(settings)),
        ("transactions", lambda: _transactions(settings)),
    ]
    return [_checked(name, check) for name, check in checks]


def _checked(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, True, check())
    except (PlaylakeError, OSError) as error:
        return Check(name, False, str(error))


def _python() -> str:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        raise PlaylakeError(f"{found}: 3.11 to 3.13 is needed")
    return found


def _runs(program: str, argument: str) -> str:
    done = subprocess.run([program, argument], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise PlaylakeError(f"{program} does not run here: {(done.stderr or done.stdout).strip()[:200]}")
    return (done.stdout or done.stderr).strip().splitlines()[0]


def _extensions() -> str:
    return ", ".join(duck.extension_path(name).name for name in ("httpfs", "delta"))


def _checkout() -> str:
    for part in ("dbt/dbt_project.yml", "app/api/main.py"):
        if not (ROOT / part).is_file():
            raise PlaylakeError(f"{ROOT / part} is missing: playlake runs from its checkout")
    return str(ROOT)


def _home(settings: Settings) -> str:
    home = settings.home_path
    existing = next(p for p in (home, *home.parents) if p.exists())
    if not os.access(existing, os.W_OK):
        raise PlaylakeError(f"{existing} can't be written: set PLAYLAKE_HOME to another folder")
    return str(home)


def _disk(settings: Settings) -> str:
    home = settings.home_path
    existing: Path = next(p for p in (home, *home.parents) if p.exists())
    free = shutil.disk_usage(existing).free // (1024 * 1024)
    if settings.profile == "embedded" and free < settings.min_free_mb:
        raise PlaylakeError(f"{free:,} MiB free at {existing}, {settings.min_free_mb} wanted: free some")
    return f"{free:,} MiB free at {existing}"


def _servers(settings: Settings) -> str:
    if settings.profile != "embedded":
        return f"profile {settings.profile}: not started by playlake"
    rows = EmbeddedStack(settings).status()
    crashed = [r["name"] for r in rows if r["state"] == "crashed"]
    if crashed:
        raise PlaylakeError(f"{', '.join(crashed)} crashed: `playlake up` starts them again, the logs say why")
    running = [r["name"] for r in rows if r["state"] == "running"]
    return f"running: {', '.join(running)}" if running else "not started"


def _transactions(settings: Settings) -> str:
    return servers.ABORTED if settings.profile == "embedded" else "messages of aborted transactions never land"
