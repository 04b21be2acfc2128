"""Commands on the warehouse in the cloud: cloud setup, cloud status."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from playlake.cli.common import Json, err, load, out, progress, show, table

cloud_app = typer.Typer(help="The warehouse on Snowflake.", no_args_is_help=True)


@cloud_app.command("setup")
def setup(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the SQL, which holds no secret, and connect to nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Make what the builds need in a Snowflake account. Can be run again at any time."""
    from playlake.lake import tables
    from playlake.warehouse.snowflake import account

    settings = load()
    if dry_run:
        made = account.plan(settings, tables.schemas())
        data = {"dry_run": True, "statements": [s.sql for s in made.statements], "key": str(made.key)}
        if json:
            show(True, data, "")
        else:
            sys.stdout.write(made.script())
        return
    with progress() as say:
        done = account.apply(settings, tables.schemas(), say)
    data = {
        "dry_run": False,
        "statements": [s.sql for s in done.statements],
        "key": str(done.key),
        "key_made": done.key_made,
        "trust_policy": done.trust_policy,
    }
    made_key = "A new private key is" if done.key_made else "The private key is"
    show(json, data, f"{len(done.statements)} statements were run. {made_key} {done.key}.")
    if done.trust_policy and not json:
        err.print("Give the AWS role this trust policy (IAM, the role, Trust relationships), then `playlake build`:")
        out.print(done.trust_policy)


@cloud_app.command("status")
def status(json: Json = False) -> None:
    """Whether Snowflake can be reached as the builds' user, and which Delta version its bronze holds."""
    from playlake.warehouse.snowflake import account

    settings = load()
    with progress() as say:
        say("connecting to Snowflake")
        found = account.status(settings)
    rows = [(t["folder"], t["version"], t["files"], t["rows"]) for t in found["tables"]]
    show(json, found, table("table", "version", "files", "rows", rows=rows))
    if not json:
        out.print(f"{found['user']} on {found['account']}, database {found['database']}, bronze {found['bronze']}.")
