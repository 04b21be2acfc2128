"""The command ``playlake``: its commands in one, and what becomes of their errors."""

from __future__ import annotations

import errno
import json as jsonlib
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from playlake import __version__, lifeline, log
from playlake.cli import cloud, demo, dlq, evaluate, intake, keeping, lake, models, serving, stack
from playlake.cli.common import err, one_line, out
from playlake.errors import PlaylakeError, UsageError, was_interrupted
from playlake.paths import given_path

app = typer.Typer(
    help="A listening lakehouse: Kafka to Delta on S3 exactly once, dbt, recommendations, API and dashboard.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for part in (stack.app, intake.app, serving.app, evaluate.app, models.app, keeping.app, demo.app):
    app.add_typer(part)
app.add_typer(lake.lake_app, name="lake")
app.add_typer(dlq.dlq_app, name="dlq")
app.add_typer(cloud.cloud_app, name="cloud")

_INTERRUPTED = 130
_UNUSABLE = (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
"""What typer makes of Ctrl-C, as shells do: 128 + SIGINT."""


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        out.print(f"playlake {__version__}")
        raise typer.Exit()


def _tell(text: str, code: int, kind: str | None = None) -> None:
    if "--json" in sys.argv:
        sys.stdout.write(jsonlib.dumps({"error": text, "kind": kind}) + "\n")
    if log.is_json():
        log.get("cli").error(text, kind=kind, exit_code=code)
    else:
        err.print(f"playlake: {text}", style="red" if err.is_terminal else None)


def _fail(text: str, code: int, kind: str | None = None) -> NoReturn:
    _tell(text, code, kind)
    sys.exit(code)


def _end_at_once(code: int) -> NoReturn:
    """Without waiting for other threads, as the interpreter would: one may be in a request that is not answered."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody listens any more
            stream.flush()
    os._exit(code)


def main() -> NoReturn:
    """The command ``playlake``."""
    lifeline.follow()
    answer_for(lambda: app(standalone_mode=False))


def answer_for(run: Callable[[], int | None]) -> NoReturn:
    """Run a command and exit with its code; whatever goes wrong becomes a line or two, and never a traceback."""
    try:
        code = run()
    except typer.TyperException as error:
        _misused(error)
    except PlaylakeError as error:
        _fail(str(error) + _full_disk(error), error.exit_code, type(error).__name__)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _fail(
                f"The disk is full ({error.filename or 'writing failed'}). Free some space and run this again;"
                " what was acknowledged is safe.",
                1,
            )
        if isinstance(error, _UNUSABLE) and error.filename:
            _fail(
                f"{error.filename} can't be used: {error.strerror}. Something else is in its place, or its owner gives"
                " no access: move it away or change its access, and run this again.",
                1,
            )
        _unexpected(error)
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback for a person
        if not was_interrupted(error):
            _unexpected(error)
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        _tell("Interrupted. What was acknowledged is safe; run it again to go on.", code)
        _end_at_once(code)
    sys.exit(code)


def _misused(error: typer.TyperException) -> NoReturn:
    text = error.format_message()
    if not text.strip():  # no command given: the help is on the screen
        sys.exit(error.exit_code)
    command = getattr(getattr(error, "ctx", None), "command_path", "playlake")
    _fail(f"{text}\nSee `{command} --help`.", error.exit_code)


def _full_disk(error: PlaylakeError) -> str:
    """The reason behind many a server's silence, where it is: no room left in the home folder."""
    if isinstance(error, UsageError):
        return ""
    home = _home()
    try:
        free = shutil.disk_usage(home).free // (1024 * 1024)
    except OSError:
        return ""
    if free >= 16:
        return ""
    return (
        f"\nThe disk of {home.resolve()} is full ({free} MiB free), which explains it:"
        " free some, then `playlake down`, and run this again."
    )


def _home() -> Path:
    """The home folder, also where the settings can't be read."""
    text = os.environ.get("PLAYLAKE_HOME", ".playlake")
    try:
        return given_path(text)
    except UsageError:
        return Path(text)


def _unexpected(error: BaseException) -> NoReturn:
    note = ""
    try:
        folder = _home() / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"crash-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.log"
        path.write_text("".join(traceback.format_exception(error)))
        note = f" Details: {path}."
    except OSError:
        pass
    _fail(f"Something unexpected went wrong: {type(error).__name__}: {one_line(str(error))}. This is a bug.{note}", 1)
