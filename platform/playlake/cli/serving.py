"""Commands from the lake to the pages: build, serve api, serve dashboard."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.table import Table

from playlake.cli.common import Json, Target, load, on_target, progress, show, table, warn
from playlake.errors import UsageError

app = typer.Typer()
serve_app = typer.Typer(help="Serve what was published.", no_args_is_help=True)
app.add_typer(serve_app, name="serve")


@app.command()
def build(
    stage: Annotated[
        str | None,
        typer.Option(
            help="One stage only: begin, silver, silver-tests, gold, gold-tests, recommendations or publish.",
        ),
    ] = None,
    of: Annotated[str | None, typer.Option(help="With --stage: the build, as `--stage begin` names it.")] = None,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Make every table anew from bronze, not only what is new.")
    ] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Serve the build before the current one again, and build nothing.")
    ] = False,
    target: Target = None,
    json: Json = False,
) -> None:
    """Run dbt on what is new in the lake, and publish gold if all tests pass."""
    from playlake import pipeline
    from playlake.warehouse.build import Built
    from playlake.warehouse.build import rollback as go_back
    from playlake.warehouse.stages import BEGIN, STAGES

    settings = on_target(load(), target)
    if of and target:
        raise UsageError("--target goes with `--stage begin`: the other stages of a build are run where it was begun.")
    if sum((stage is not None, full_refresh, rollback)) > 1:
        raise UsageError("Of --stage, --full-refresh and --rollback only one can be given.")
    if rollback:
        now = go_back(settings)
        text = (
            f"Build {now.version} of {now.built_at} is served again, until the lake or the models have changed"
            " (`playlake refresh`, the DAG) or until the next `playlake build`, which builds at once."
        )
        show(json, {"version": now.version, "built_at": now.built_at}, text)
        return
    if stage is None:
        if of:
            raise UsageError("--of goes with --stage. Without it, all stages of a new build are run.")
        with progress() as say:
            built = pipeline.build_warehouse(settings, full=full_refresh, say=say)
        show(json, asdict(built), _built_table(built))
        return
    if stage not in STAGES:
        raise UsageError(f"{stage!r} is no stage of a build. The stages are {', '.join(STAGES)}.")
    if (stage == BEGIN) == bool(of):
        raise UsageError("`--stage begin` names a new build; every other stage needs that name in --of.")
    with progress() as say:
        if not of:
            say("looking at the lake")
            begun = pipeline.begin_build(settings, say=say)
            data = {"build": begun.id if begun else None, "versions": begun.versions if begun else {}}
            show(json, data, f"Build {begun.id} has begun." if begun else "Nothing new to build.")
            return
        done = pipeline.run_build_stage(settings, of, stage, say=say)
    if isinstance(done, Built):
        show(json, asdict(done), _built_table(done))
    else:
        show(json, asdict(done), f"Build {done.id}: {stage} passed.")


def _built_table(built: Any) -> Table:
    rows = [("bronze", built.bronze), *built.silver.items(), *built.gold.items(), ("dead letters", built.dead_letters)]
    return table("model", "rows", rows=rows, title=f"Build {built.version}, target {built.target}")


def _serve(name: str, json: bool) -> NoReturn:
    """Become the server: Ctrl-C, exit code and output are its own."""
    from playlake import pipeline
    from playlake.stack import ports
    from playlake.warehouse.build import folder
    from playlake.warehouse.publish import current

    settings = load()
    fixed, usual = (settings.api_port, 8000) if name == "api" else (settings.dashboard_port, 8501)
    port = ports.settle({}, name, fixed, usual, free=ports.Claims(settings.host, kept=True).free)
    url = f"http://{settings.host}:{port}"
    show(json, {"name": name, "url": url}, f"{name}: {url} (Ctrl-C ends it)")
    sys.stdout.flush()
    if current(folder(settings)) is None:
        warn("nothing has been built yet; what is served says so until `playlake build`.")
    # The address has been told: standard output stays that one line, whatever the server says of itself.
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    command = pipeline.COMMANDS[name](settings, port)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until playlake.served can heed it
    os.execve(command[0], command, {**os.environ, **settings.environment()})  # noqa: S606 - our own interpreter


@serve_app.command("api")
def serve_api(json: Json = False) -> None:
    """Serve recommendations over HTTP."""
    _serve("api", json)


@serve_app.command("dashboard")
def serve_dashboard(json: Json = False) -> None:
    """Serve the dashboard."""
    _serve("dashboard", json)
