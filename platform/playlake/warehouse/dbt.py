"""Running dbt on a target, and saying in a line or two what went wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from playlake.errors import PlaylakeError
from playlake.lifeline import lifeline
from playlake.settings import ROOT, Settings
from playlake.warehouse import parsed
from playlake.warehouse.target import Target

PROJECT = ROOT / "dbt"
_NOT_PUBLISHED = "The build was not published"
_PUBLISHED_STAYS = "What was published before is still served. "
_WITHOUT_UNIT_TESTS = {"DBT_EXCLUDE_RESOURCE_TYPES": "unit_test"}
"""They test the models, not the data: `make test` runs them."""


_BY_HAND = ("-c", "from playlake.lifeline import follow; follow(); from dbt.cli.main import cli; cli()")
_OURS = ("-m", "playlake.warehouse.dbt_child")


def _command(how: Sequence[str], where: Target, arguments: Sequence[str]) -> list[str]:
    # -P: what lies in the working folder is no module of dbt's.
    return [sys.executable, "-P", *how, *arguments, "--target", where.name]


def _environment(settings: Settings, where: Target, *, inside: bool = False) -> dict[str, str]:
    """The environment of a dbt command, secrets included: never for a log.

    :param inside: whether it runs in the target's folder.
    """
    ours = {
        "DBT_PROJECT_DIR": str(PROJECT),
        "DBT_PROFILES_DIR": str(PROJECT),
        "DBT_TARGET_PATH": str(where.target_path),
        "DBT_LOG_PATH": str(_logs(settings)),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
    }
    return {**os.environ, **settings.environment(), **where.environment(inside=inside), **ours}


def _logs(settings: Settings) -> Path:
    return settings.home_path / "logs" / "dbt"


def run(
    settings: Settings,
    where: Target,
    arguments: Sequence[str],
    say: Callable[[str], None],
    *,
    variables: Mapping[str, str] | None = None,
    outcome: str = _NOT_PUBLISHED,
) -> list[dict[str, Any]]:
    """Run a dbt command (``["build"]``, ``["test", "--select", …]``) on a target.

    :param variables: what the models are to read from the environment (``dbt/macros/settings.sql``).
    :param outcome: what a failure means, to be said first.
    :returns: the results of its nodes, as in ``run_results.json``.
    :raises PlaylakeError: when a model or a test failed.
    """
    copy = parsed.Copy(PROJECT, where.target_path, where.name, arguments)
    copy.bring()
    started = time.time()
    process = subprocess.Popen(
        _command(_OURS, where, arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Not where we run: that would be searched for a .env and a dbt_project, and the settings have been read.
        cwd=where.folder,
        env={**_environment(settings, where, inside=True), **_WITHOUT_UNIT_TESTS, **(variables or {})},
    )
    last: list[str] = []
    with process:
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
            raise
    if not code:
        copy.keep()
    results = _results(where.target_path / "run_results.json", started)
    failed = [r for r in results if r["status"] in ("error", "fail")]
    if code or failed:
        raise PlaylakeError(_failure(failed, last, _logs(settings), outcome))
    return results


def by_hand(
    settings: Settings, where: Target, arguments: Sequence[str], variables: Mapping[str, str], *, quiet: bool
) -> int:
    """Run a dbt command with its own output; returns its exit code. ``variables`` as in :func:`run`."""
    out = sys.stderr if quiet else None
    inside = "#" in str(where.folder)  # dbt-duckdb takes it for the end of a path
    env = {**_environment(settings, where, inside=inside), **variables}
    with parsed.by_hand(where.target_path), lifeline() as line:
        return subprocess.run(
            _command(_BY_HAND, where, arguments),
            env={**env, **line.variables},
            pass_fds=line.fds,
            stdout=out,
            cwd=where.folder if inside else None,
            check=False,
        ).returncode


def passed(results: Sequence[dict[str, Any]]) -> int:
    """How many tests passed."""
    return sum(r["status"] in ("pass", "warn") for r in results)


def has_manifest(target_path: Path) -> bool:
    """Whether dbt has said there what models there are."""
    return (target_path / "manifest.json").is_file()


def models(target_path: Path, schema: str) -> list[str]:
    """The models of a schema, by name, as dbt's manifest has them."""
    nodes = json.loads((target_path / "manifest.json").read_text())["nodes"].values()
    return sorted(n["name"] for n in nodes if n["resource_type"] == "model" and n["schema"].lower() == schema)


def contracts(target_path: Path, schema: str) -> dict[str, dict[str, str]]:
    """By model of a schema that has a contract, its columns with their types, as dbt's manifest has them."""
    nodes = json.loads((target_path / "manifest.json").read_text())["nodes"].values()
    return {
        node["name"]: {name: column["data_type"] for name, column in node["columns"].items()}
        for node in nodes
        if node["resource_type"] == "model" and node["schema"].lower() == schema and node["contract"]["enforced"]
    }


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


def _failure(failed: list[dict[str, Any]], last: list[str], logs: Path, outcome: str) -> str:
    if failed:
        names = ", ".join(str(r["unique_id"]).split(".")[2] for r in failed[:5])
        more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
        first = textwrap.shorten(str(failed[0].get("message") or ""), 400, placeholder=" …")
        what = f"{len(failed)} of its models and tests failed: {names}{more}. The first says: {first}"
        if "ObjectStoreError" in first:  # of DuckDB's delta extension, which the models read the lake with
            what += ". Check that the object store runs (`playlake status`; `playlake up` starts the embedded one)."
    else:
        what = "dbt ended before it ran a model. Its last words: " + " ".join(" ".join(last).split())[-400:]
    return f"{outcome}; {what}\n{_PUBLISHED_STAYS if outcome == _NOT_PUBLISHED else ''}Details: {logs / 'dbt.log'}"
