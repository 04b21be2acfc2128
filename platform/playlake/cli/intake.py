"""Commands that bring listening in: simulate, import, land."""

from __future__ import annotations

import signal
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from playlake.cli.common import (
    Days,
    Json,
    Listeners,
    Plays,
    Seed,
    User,
    length,
    load,
    progress,
    show,
    simulation,
    table,
    tell,
    warn,
)
from playlake.errors import UsageError
from playlake.paths import given_path

app = typer.Typer()


@app.command()
def simulate(
    plays: Plays = 20_000,
    listeners: Listeners = 200,
    days: Days = 90,
    seed: Seed = 7,
    end: Annotated[
        datetime | None, typer.Option(help="UTC day on which the simulated days end.", formats=["%Y-%m-%d"])
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Events a second, time-stamped now, until Ctrl-C.", min=0.001)
    ] = None,
    for_: Annotated[float | None, length("With --rate: how long (30s, 5m, 1h).")] = None,
    past: Annotated[
        bool, typer.Option("--past", help="With --rate: before it the simulated days, if the lake has no plays.")
    ] = False,
    json: Json = False,
) -> None:
    """Send simulated listening to Kafka."""
    from playlake import pipeline
    from playlake.heartbeat import Heartbeat
    from playlake.sources.simulator import Simulator

    settings = load()
    if for_ and not rate:
        raise UsageError("--for goes with --rate. Without a rate, --plays says how much is sent.")
    if past and not rate:
        raise UsageError("--past goes with --rate. Without a rate, the simulated days are all that is sent.")
    heartbeat = Heartbeat(settings.heartbeat)
    signals: list[int] = []

    def stopped() -> bool:
        heartbeat.beat()
        return bool(signals)

    def stop(number: int, _frame: object) -> None:
        # Not an exception: it could fall between the sending of an event and its counting. The second time it may.
        signals.append(number)
        if len(signals) > 1:
            raise KeyboardInterrupt

    if rate:
        # A feed ends well by either signal, also where Ctrl-C was switched off for us, as shells do in the background.
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signal_number, stop)
    # The past of a feed ends where the feed begins; all else must not depend on the day on which it is run.
    simulator = Simulator(simulation(plays, listeners, days, seed, end or (_today() if past else None)))
    with progress() as say:
        if past and not pipeline.has_plays(settings):
            pipeline.produce_simulation(settings, simulator, stopped=stopped, say=say)
        sent = pipeline.produce_simulation(settings, simulator, rate=rate, for_s=for_, stopped=stopped, say=say)
    show(json, {"produced": sum(sent.values()), "by_topic": sent}, table("topic", "rows", rows=sent.items()))


def _today() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)


@app.command("import")
def import_(
    paths: Annotated[
        list[Path],
        typer.Argument(parser=given_path, metavar="PATHS...", help="Folder, files or zip of a Spotify account export."),
    ],
    user: User = "me",
    json: Json = False,
) -> None:
    """Import a listening history. Importing it again adds nothing."""
    from playlake import pipeline

    settings = load()
    with progress() as say:
        receipt = pipeline.produce_history(settings, paths, user, say=say)
    rows = [(Path(f.file).name, f.read, f.produced, f.same, f.refused, f.damaged or "") for f in receipt.files]
    rows.append(("all", receipt.read, receipt.produced, receipt.same, receipt.refused, ""))
    show(json, receipt.as_dict(), table("file", "read", "produced", "same", "refused", "damage", rows=rows))
    tell(receipt, json)
    for file, why in receipt.ignored.items():
        warn(f"not read: {file} ({why})")
    if receipt.problems():
        raise typer.Exit(1)


@app.command()
def land(
    for_: Annotated[float | None, length("Land for this long (30s, 5m, 1h), then end.")] = None,
    until_idle: Annotated[
        bool,
        typer.Option(
            "--until-idle", help="End when everything has landed; under a feed that goes on, never: add --for."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Land events from Kafka in the lake, exactly once; until Ctrl-C unless told otherwise.

    --for and --until-idle together end with whichever comes first.
    """
    signals: list[int] = []
    writer: Any = None

    def stop(number: int, _frame: object) -> None:
        signals.append(number)
        at_once = signals.count(signal.SIGINT) > 1  # supervisors may send SIGTERM twice
        if writer is not None:
            writer.stop(at_once=at_once)
        elif at_once:
            raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    from playlake import quality
    from playlake.heartbeat import Heartbeat
    from playlake.lake.writer import Writer
    from playlake.lean import with_jemalloc
    from playlake.stack.retention import kept_short

    with_jemalloc()
    settings = load()
    watcher = None
    if settings.metrics_port:
        from playlake.lake.metrics import Metrics

        watcher = Metrics()
        watcher.serve(settings.host, settings.metrics_port)
    heartbeat = Heartbeat(settings.heartbeat)
    with progress() as say:
        told = False

        def turn() -> None:
            nonlocal told
            heartbeat.beat()
            if signals and not told:
                told = True
                by_hand = signal.SIGINT in signals
                say(f"ending: what is buffered is written first{'; Ctrl-C once more ends at once' * by_hand}")

        writer = Writer(
            settings,
            watcher=watcher,
            on_progress=lambda landed: say(f"{landed.total:,} rows landed"),
            on_turn=turn,
        )
        if signals:
            writer.stop()
        say("joining")
        with kept_short(settings):
            landed = writer.run(for_s=for_, until_idle=until_idle)
    held = quality.withheld(settings) if until_idle else []
    rows = [*landed.rows.items(), ("dead letters", landed.dead_letters)]
    data = {**asdict(landed), "withheld": [w.as_dict() for w in held]}
    show(json, data, table("topic", "rows", rows=rows))
    for one in held:
        warn(str(one))
    if held:
        warn(quality.WITHHELD)
        raise typer.Exit(1)
