"""Commands on the models: docs, dbt."""

from __future__ import annotations

import functools
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated

import typer

from playlake.cli.common import Json, Target, load, on_target, progress, show, warn
from playlake.errors import PlaylakeError

app = typer.Typer()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Who looks at what is nobody's business."""


@app.command()
def docs(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 chooses a free one.")] = 0,
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve it until Ctrl-C.")] = True,
    target: Target = None,
    json: Json = False,
) -> None:
    """Write dbt's documentation of every model and column, and serve it. Needs no network."""
    from playlake.warehouse.build import documented

    settings = on_target(load(), target)
    with progress() as say:
        say("writing the documentation")
        page = documented(settings, on_progress=say)
    if not serve:
        show(json, {"page": str(page), "url": None}, f"The documentation is {page}.")
        return
    handler = functools.partial(_Quiet, directory=str(page.parent))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise PlaylakeError(
            f"Port {port} can't be had ({error.strerror}). Leave --port out to have a free one."
        ) from None
    url = f"http://127.0.0.1:{server.server_port}"
    with server:
        show(json, {"page": str(page), "url": url}, f"docs: {url} (Ctrl-C ends it)")
        sys.stdout.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def dbt(context: typer.Context, target: Target = None, json: Json = False) -> None:
    """Run dbt itself on the target: `playlake dbt source freshness`, `playlake dbt debug`. Its exit code is dbt's."""
    from playlake.warehouse import by_hand

    settings = on_target(load(), target)
    code = by_hand.run(settings, context.args, quiet=json, say=warn)
    if json:
        show(True, {"arguments": context.args, "code": code}, "")
    if code:
        raise typer.Exit(code)
