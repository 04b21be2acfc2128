"""Commands that keep what is served up to date, and people informed: inbox, refresh, wait, alert."""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import asdict
from typing import Annotated, Any

import typer

from playlake.alerts import Level
from playlake.cli.common import Json, length, load, out, progress, show, table, warn
from playlake.errors import PlaylakeError, UsageError

app = typer.Typer()


def _imported_table(imported: list[Any]) -> Any:
    rows = [(i.name, i.read, i.produced, i.same, i.refused, i.error or _damage(i.damaged)) for i in imported]
    return table("file", "read", "produced", "same", "refused", "problem", rows=rows)


def _tell_overlaps(imported: list[Any]) -> None:
    for text in (text for one in imported for text in one.overlaps):
        warn(text)


def _fail_if_wrong(imported: list[Any]) -> None:
    if any(i.error or i.damaged for i in imported):
        raise typer.Exit(1)


def _damage(files: int) -> str:
    return f"{files} damaged files: see the receipt" if files else ""


@app.command()
def inbox(json: Json = False) -> None:
    """Import what is new in the inbox folder. Each file's receipt goes beside it."""
    from playlake import pipeline

    settings = load()
    with progress() as say:
        imported = list(pipeline.import_inbox(settings, say=say))
    text = _imported_table(imported) if imported else f"Nothing new in {settings.inbox.resolve()}."
    show(json, {"inbox": str(settings.inbox.resolve()), "imported": [asdict(i) for i in imported]}, text)
    _tell_overlaps(imported)
    _fail_if_wrong(imported)


@app.command()
def refresh(
    every: Annotated[
        float | None, length("Again and again, so long after each other (30s, 5m), until Ctrl-C.", "--every")
    ] = None,
    json: Json = False,
) -> None:
    """Import what is new in the inbox; build and publish if there is something new in the lake.

    With --every, --json prints a line for each import and each build.
    """
    from playlake import pipeline
    from playlake.heartbeat import Heartbeat

    settings = load()
    if every is not None and every < 1:
        raise UsageError("--every must be a second or more.")
    heartbeat = Heartbeat(settings.heartbeat)
    asked: list[object] = []

    def interrupt(number: object, _frame: object) -> None:
        asked.append(number)  # what is raised within a library's callback can be lost there
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)  # as Ctrl-C: a build that runs is ended, and nothing of it published
    if every is None:
        with progress() as say:
            imported = list(pipeline.import_inbox(settings, say=say))
            built = pipeline.build_if_changed(settings, say=say)
        _tell_overlaps(imported)
        if json:
            show(True, {"imported": [asdict(i) for i in imported], "built": asdict(built) if built else None}, "")
        else:
            if imported:
                out.print(_imported_table(imported))
            out.print(_built(built) if built else "Nothing new to build.")
        _fail_if_wrong(imported)
        return

    with progress() as say:

        def alive(text: str) -> None:
            heartbeat.beat()
            say(text)

        try:
            while not asked:
                try:
                    for one in pipeline.import_inbox(settings, say=alive):
                        show(json, {"imported": asdict(one)}, _imported_table([one]))
                        _tell_overlaps([one])
                    if built := pipeline.build_if_changed(settings, say=alive):
                        show(json, {"built": asdict(built)}, _built(built))
                except PlaylakeError as error:
                    # A server that is away comes back, and a model that fails is mended: the next round tries again.
                    warn(str(error))
                sys.stdout.flush()
                again = time.monotonic() + every
                while time.monotonic() < again and not asked:
                    heartbeat.beat()
                    time.sleep(min(1.0, every))
        except KeyboardInterrupt:
            pass
        say("ended")


def _built(built: Any) -> str:
    plays = built.silver.get("silver_plays", 0)
    return f"Build {built.version} published: {plays:,} plays, {built.seconds:.1f} s."


@app.command()
def wait(
    for_: Annotated[float | None, length("How long at most (30s, 5m); five minutes unless told otherwise.")] = None,
    build: Annotated[int, typer.Option(help="Wait for this build or a later one instead, plays or none.", min=0)] = 0,
    json: Json = False,
) -> None:
    """Wait until what is served has plays to show. Exit code 1 when it takes too long.

    It reads as the pages do, so what it says is what they show.
    """
    from playlake.warehouse.build import folder
    from playlake.warehouse.reader import GoldReader

    settings = load()
    reader = GoldReader(folder(settings))
    longest = for_ or 300.0
    deadline = time.monotonic() + longest
    with progress() as say:
        while True:
            version = reader.version()
            metrics = reader.query("overview")[0] if version is not None else {"total_plays": 0}
            plays = int(metrics["total_plays"])
            if version is not None and version >= build and (plays or build):
                break
            if time.monotonic() > deadline:
                raise PlaylakeError(
                    (f"Build {build} is not served" if build else "No plays to show")
                    + f" after {longest:.0f} s: "
                    + ("nothing has been built yet." if version is None else f"build {version} has {plays:,} plays.")
                    + " Are the writer and the builder running, and is there anything in Kafka?"
                )
            say("waiting for plays" if version is not None else "waiting for the first build")
            time.sleep(1)
    told = {name: value if isinstance(value, int | float) else str(value) for name, value in metrics.items()}
    show(json, {"version": version, "plays": plays, "metrics": told}, f"Build {version}: {plays:,} plays.")


@app.command()
def alert(
    level: Annotated[Level, typer.Argument(help="How it ended.")],
    title: Annotated[str, typer.Argument(help="What it is about, in one line.")],
    text: Annotated[str, typer.Option(help="The rest of what is to be said.")] = "",
    json: Json = False,
) -> None:
    """Tell people how something ended: in the log, and to the addresses in PLAYLAKE_ALERT_URLS."""
    from playlake import alerts

    settings = load()
    if not title.strip():
        raise UsageError("An alert needs a title.")
    with progress() as say:
        say("telling")
        sent = alerts.alert(settings, level, title, text)
    show(json, {"level": level, "sent": sent}, f"Told {sent} addresses." if sent else "Logged.")
