"""Running dbt on the project's own database, and saying in a line or two what went wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from playlake.errors import PlaylakeError
from playlake.settings import ROOT, Settings

PROJECT = ROOT / "dbt"


def run(
    settings: Settings, home: Path, database: Path, arguments: Sequence[str], say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Run a dbt command (``["build"]``, ``["test", "--select", …]``) on ``database``, a DuckDB file.

    :param home: the warehouse's folder, where dbt's own files go.
    :returns: the results of its nodes, as in ``run_results.json``.
    :raises PlaylakeError: when a model or a test failed.
    """
    target, logs = home / "target", settings.home_path / "logs" / "dbt"
    command = [sys.executable, "-c", "from dbt.cli.main import cli; cli()", "--log-format", "json", *arguments]
    paths = ["--project-dir", PROJECT, "--profiles-dir", PROJECT, "--target-path", target, "--log-path", logs]
    environment = {
        **os.environ,
        **settings.environment(),
        "DBT_PLAYLAKE_DATABASE": str(database),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
    }
    started = time.time()
    # Its own working folder would be searched for a .env and a dbt_project; ours is where the settings were read.
    process = subprocess.Popen(
        [*command, "--target", "local", *map(str, paths)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    last: list[str] = []
    try:
        assert process.stdout is not None  # noqa: S101 - asked for above
        for line in process.stdout:
            text = _message(line)
            if text:
                last = [*last, text][-12:]
                say(text)
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        process.stdout.close()  # type: ignore[union-attr]
    results = _results(target / "run_results.json", started)
    failed = [r for r in results if r["status"] in ("error", "fail")]
    if code or failed:
        raise PlaylakeError(_failure(failed, last, logs))
    return results


def passed(results: Sequence[dict[str, Any]]) -> int:
    """How many tests passed."""
    return sum(r["status"] in ("pass", "warn") for r in results)


def _message(line: str) -> str:
    try:
        found: dict[str, Any] = json.loads(line)["info"]
    except (ValueError, KeyError, TypeError):
        return line.strip()
    text = str(found.get("msg", "")).strip()
    if found.get("level") == "debug":
        return ""
    # A hundred models and tests are one stage with a count, not two hundred lines.
    node = re.match(r"(\d+) of (\d+) (START|PASS|OK)", text)
    return f"models and tests: {node[1]} of {node[2]}" if node else text


def _results(path: Path, since: float) -> list[dict[str, Any]]:
    try:
        if path.stat().st_mtime < since - 1:
            return []
        found: list[dict[str, Any]] = json.loads(path.read_text())["results"]
    except (OSError, ValueError, KeyError):
        return []
    return found


def _failure(failed: list[dict[str, Any]], last: list[str], logs: Path) -> str:
    if failed:
        names = ", ".join(str(r["unique_id"]).split(".")[2] for r in failed[:5])
        more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
        first = " ".join(str(failed[0].get("message") or "").split())[:300]
        what = f"{len(failed)} of its models and tests failed: {names}{more}. The first says: {first}"
    else:
        what = "dbt ended before it ran a model. Its last words: " + " ".join(" ".join(last).split())[-400:]
    return (
        f"The build was not published; {what}\nWhat was published before is still served. Details: {logs / 'dbt.log'}"
    )
