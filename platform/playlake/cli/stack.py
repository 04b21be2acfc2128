"""Commands on the embedded servers and this machine: up, down, status, doctor."""

from __future__ import annotations

import json as jsonlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import typer
from rich.table import Table

from playlake.cli.common import Json, load, out, progress, show, table
from playlake.lifeline import lifeline

app = typer.Typer()

_LAG_SECONDS = 20.0
"""How long a look at log and lake may take, with the start of its process: some 4 s on a busy machine."""


@app.command()
def up(json: Json = False) -> None:
    """Start the embedded servers: broker, object store, cache."""
    from playlake.stack import EmbeddedStack
    from playlake.stack.servers import ABORTED

    stack = EmbeddedStack(load())
    with progress() as say:
        done = stack.up(on_progress=say)
    rows = stack.status()
    show(json, {**asdict(done), "servers": rows, "note": ABORTED}, _status_table(rows))
    if not json:
        out.print(ABORTED)


@app.command()
def down(json: Json = False) -> None:
    """Stop the servers of this home; the data stays. What runs in other terminals is yours to end."""
    from playlake.stack import EmbeddedStack

    stack = EmbeddedStack(load())
    with progress() as say:
        say("stopping")
        stopped = stack.down()
    show(json, {"stopped": stopped}, f"Stopped: {', '.join(stopped) or 'nothing was running'}.")


@app.command()
def status(json: Json = False) -> None:
    """What runs, where it listens, what waits to land, and which build is published.

    Exit code 1 unless all servers run.
    """
    from playlake.stack import EmbeddedStack
    from playlake.stack.servers import SERVERS
    from playlake.warehouse.build import folder
    from playlake.warehouse.publish import current

    settings = load()
    with _looking_at_lag() as look:
        if settings.profile == "embedded":
            rows = EmbeddedStack(settings).status()
        else:
            from playlake.stack import remote  # with clients of all servers

            rows = remote.status(settings)
        needed = [r["state"] for r in rows if r["name"] in ("broker", "store")]
        there = all(state == "running" for state in needed)
        lag, why = _lag(look) if there else (None, "broker or store does not run")
    build = current(folder(settings))
    data = {
        "profile": settings.profile,
        "home": str(settings.home_path),
        "servers": rows,
        "lag": lag,
        "lag_problem": why,
        "build": {"version": build.version, "built_at": build.built_at} if build else None,
    }
    show(json, data, _status_table(rows))
    if not json:
        out.print(_lag_text(lag, why))
        out.print(f"Published build: {build.version} of {build.built_at}" if build else "Nothing published yet.")
    if any(r["state"] != "running" for r in rows if r["name"] in SERVERS):
        raise typer.Exit(1)


@contextmanager
def _looking_at_lag() -> Iterator[subprocess.Popen[str]]:
    """`lake pending` beside the rest: a process can be ended, however long a server makes its clients wait."""
    command = [sys.executable, "-P", "-m", "playlake", "lake", "pending", "--json"]
    with (
        lifeline() as line,
        subprocess.Popen(
            command,
            env={**os.environ, **line.variables},
            pass_fds=line.fds,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def _lag(look: subprocess.Popen[str]) -> tuple[dict[str, Any] | None, str | None]:
    """Messages that wait in Kafka and the age in seconds of the oldest; or why that can't be told."""
    try:
        text, _ = look.communicate(timeout=_LAG_SECONDS)
        found = jsonlib.loads(text)
    except subprocess.TimeoutExpired:
        return None, f"broker or store took more than {_LAG_SECONDS:.0f} s; `playlake lake pending` waits longer"
    except ValueError:
        return None, f"`playlake lake pending` ended with {look.returncode}"
    if look.returncode:
        return None, str(found.get("error"))
    return {name: found[name] for name in ("pending", "by_topic", "oldest_s", "withheld")}, None


def _lag_text(lag: dict[str, Any] | None, why: str | None) -> str:
    if lag is None:
        return f"Waiting to land: unknown ({why})."
    held = "".join(
        f"\nWithheld by an open transaction: {w['messages']:,} messages of {w['topic']}/{w['partition']} since"
        f" {w['since']}. They land when it ends."
        for w in lag["withheld"]
    )
    if not lag["pending"]:
        return f"Waiting to land: nothing{' that can be read' if held else ''}.{held}"
    topics = ", ".join(f"{topic} {count:,}" for topic, count in lag["by_topic"].items() if count)
    return f"Waiting to land: {lag['pending']:,} messages ({topics}), the oldest for {lag['oldest_s']:,.0f} s.{held}"


def _status_table(rows: list[dict[str, Any]]) -> Table:
    return table(
        "name", "state", "process", "address", "log",
        rows=[
            (r["name"], r["state"], str(r["pid"] or ""), _address(r), _short(r["log"]))
            for r in rows
        ],
    )  # fmt: skip


def _address(row: dict[str, Any]) -> str:
    """Where a server listens; a stopped one listens nowhere."""
    return row["address"] if row["state"] != "stopped" else ""


def _short(path: str) -> str:
    """A path as seen from here, where that is shorter: long ones break a table's lines."""
    return min(path, os.path.relpath(path), key=len) if path else ""


@app.command()
def doctor(json: Json = False) -> None:
    """Check what playlake needs of this machine. Exit code 1 when something is missing."""
    from playlake.doctor import examine

    checks = examine(load())
    rows = [("ok" if c.ok else "PROBLEM", c.name, c.text) for c in checks]
    show(
        json,
        {"ok": all(c.ok for c in checks), "checks": [asdict(c) for c in checks]},
        table("", "check", "found", rows=rows),
    )
    if not all(c.ok for c in checks):
        raise typer.Exit(1)
