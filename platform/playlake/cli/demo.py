"""The command for the whole path: demo."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from playlake.cli.common import (
    Days,
    Json,
    Listeners,
    Plays,
    Seed,
    User,
    load,
    progress,
    show,
    simulation,
    table,
    tell,
    warn,
)
from playlake.paths import given_path

app = typer.Typer()


@app.command()
def demo(
    history: Annotated[
        list[Path] | None,
        typer.Option(
            "--history",
            parser=given_path,
            metavar="PATH",
            help="Folder, files or zip of a Spotify export, instead of the simulator; can be given more than once.",
        ),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve/--no-serve", help="Serve until Ctrl-C, or end when all is up.")
    ] = True,
    user: User = "me",
    plays: Plays = 20_000,
    listeners: Listeners = 200,
    days: Days = 90,
    seed: Seed = 7,
    json: Json = False,
) -> None:
    """The whole path: start the stack, bring listening in, land, build, serve."""
    from playlake.demo import Demo, mixture
    from playlake.sources.exports.files import find_exports
    from playlake.sources.exports.importer import check_listener

    settings = load()
    check_listener(user)
    paths = [p for given in history or [] for p in _split(given)]
    ignored = find_exports(paths).ignored if paths else {}  # a wrong path is told before anything is started
    for file, why in ignored.items():
        warn(f"not read: {file} ({why})")
    run = Demo(settings, history=paths, user_id=user, simulation=simulation(plays, listeners, days, seed, None))
    # Also where Ctrl-C was switched off for us, as shells do for what they start in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with progress() as say, run.running(say) as result:
        try:
            show(json, result.as_dict(), _demo_table(result.as_dict(), serve))
            sys.stdout.flush()
            if result.receipt:
                tell(result.receipt, json)
            if text := mixture(result.sources):
                warn(text)
            if serve:
                say(f"serving at {result.urls['dashboard']} until Ctrl-C")
                signal.pause()
        except KeyboardInterrupt:  # from the table on, that is how a demo ends
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one must not cut the stopping short
    if run.result.receipt and run.result.receipt.damaged:
        raise typer.Exit(1)


def _split(given: Path) -> list[Path]:
    """One path, or the several that ``make demo HISTORY="a b"`` hands over in one word: if all of them are there."""
    parts = [given_path(part) for part in str(given).split()]
    return parts if not given.exists() and all(part.exists() for part in parts) else [given]


def _demo_table(data: dict[str, Any], serve: bool) -> Table:
    rows: list[tuple[object, ...]] = [("events produced", data["produced"]), ("bronze", data["bronze"])]
    rows += [*data["silver_by_model"].items(), *((f"gold {m}", n) for m, n in data["gold"].items())]
    rows += [("dead letters", data["dead_letters"])]
    rows += [(f"seconds: {stage}", f"{s:.1f}") for stage, s in data["seconds"].items()]
    rows += [("seconds: all stages", f"{sum(data['seconds'].values()):.1f}")]
    rows += [(name, url if serve else f"{url} (stopped again)") for name, url in data["urls"].items()]
    if data["receipt"]:
        r = data["receipt"]
        counted = (
            f"{r['read']:,} read = {r['produced']:,} produced + {r['same']:,} same as before + {r['refused']:,} refused"
        )
        rows.insert(0, ("history rows", counted))
    return table("", "rows", rows=rows)
