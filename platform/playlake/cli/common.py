"""What all commands share: options, settings, progress, tables."""

from __future__ import annotations

import json as jsonlib
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from playlake import log
from playlake.errors import UsageError
from playlake.settings import Settings, load_settings

if TYPE_CHECKING:
    from playlake.sources.exports import Receipt

# No markup anywhere: names of files, tracks and listeners have brackets in them.
err = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
# Where nobody looks at a terminal, lines are as long as they need to be.
out = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 200)
_SIGN_OF_LIFE_S = 5.0
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST_S = 100 * 365.25 * 24 * 3600


Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Target = Annotated[
    str | None,
    typer.Option("--target", help="Where dbt builds: local (DuckDB) or cloud (Snowflake). [PLAYLAKE_TARGET]"),
]
User = Annotated[str, typer.Option("--user", help="Whose history it is; exports do not say.")]
Plays = Annotated[int, typer.Option(help="How many plays.")]
Listeners = Annotated[int, typer.Option(help="By how many listeners.")]
Days = Annotated[int, typer.Option(help="Over how many days before --end.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same events.")]


def seconds(text: str) -> float:
    """A length of time as typed (``30s``, ``5m``, ``1h``, ``7d``; seconds without a unit)."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h|d)?", text)
    if not found:
        raise typer.BadParameter(f"{text!r} is no length of time. Write 30s, 5m, 1h or 7d.")
    length = float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2] or "s"]
    if length > _LONGEST_S:
        raise typer.BadParameter(f"{text!r} is longer than a hundred years. Write 30s, 5m, 1h or 7d.")
    return length


def length(help: str, name: str = "--for") -> Any:
    """An option that is a length of time: wrong use of it is told before anything is looked at."""
    return typer.Option(name, help=help, parser=seconds, metavar="TIME")


def load() -> Settings:
    """Settings of this run, with the addresses of the embedded servers if they run."""
    settings = load_settings(by_a_person=True)
    log.configure(settings.log_level, json=settings.log_format == "json")
    from playlake.stack import attach

    return attach(settings)


def on_target(settings: Settings, target: str | None) -> Settings:
    """The settings with the target of the command line, where one is given.

    :raises UsageError: when there is no such target.
    """
    if target is None:
        return settings
    if target not in ("local", "cloud"):
        raise UsageError(f"--target {target[:40]!r}: there is local (DuckDB) and cloud (Snowflake).")
    return settings.model_copy(update={"target": target})


def _tell(text: str) -> None:
    """A line on standard error, as everything else there is written."""
    if log.is_json():
        log.get("progress").info(text)
        return
    with log.as_far_as_there_is_room():
        err.print(text)


def warn(text: str) -> None:
    """A line of what the person should know, on standard error, in the format that the settings ask for."""
    if log.is_json():
        log.get("cli").warning(text)
        return
    with log.as_far_as_there_is_room():
        err.print(f"playlake: {text}")


@contextmanager
def progress() -> Iterator[Any]:
    """Show what is going on: a moving line on a terminal, a line for each new stage elsewhere."""
    if err.is_terminal:
        with err.status(Text("starting")) as status:
            yield lambda text: status.update(Text(one_line(text)))  # of a str it would read markup
        return
    last, last_at = "", 0.0
    unsaid: str | None = None

    def say(text: str) -> None:
        nonlocal last, last_at, unsaid
        words = re.sub(r"[\d,.]+", "", text)
        # Counts that only go up are not worth a line each, but a sign of life now and then is, and the last one.
        if words == last and time.monotonic() - last_at <= _SIGN_OF_LIFE_S:
            unsaid = text
            return
        if words != last:
            say_unsaid()
        last, last_at, unsaid = words, time.monotonic(), None
        _tell(one_line(text))

    def say_unsaid() -> None:
        nonlocal unsaid
        if unsaid is not None:
            _tell(one_line(unsaid))
            unsaid = None

    try:
        yield say
    finally:
        say_unsaid()


def one_line(text: str) -> str:
    """Text of any origin as one line of at most 160 characters without terminal codes."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())[:160]


def show(json: bool, data: dict[str, Any], text: Table | str) -> None:
    """The result: one object, or what a person reads."""
    if json:
        sys.stdout.write(jsonlib.dumps(data, ensure_ascii=False) + "\n")
    else:
        out.print(text)


def tell(receipt: Receipt, json: bool) -> None:
    """After the counts of an import: why rows were refused, where the receipt is, and what is wrong."""
    if not json:
        for reason, count in receipt.reasons.most_common(5):
            out.print(f"{count:,} refused: {receipt.example(reason)}")
        if len(receipt.reasons) > 5:
            out.print(f"{len(receipt.reasons) - 5} more reasons are in the receipt.")
        out.print(f"Receipt: {receipt.receipt_file}")
        if receipt.refused:
            out.print(f"Refused rows: {receipt.refused_file}")
    for text in (*receipt.overlaps, *receipt.problems()):
        warn(text)


def plain(text: str) -> str:
    """Text of any origin without what would steer a terminal."""
    return _STEERING.sub("\ufffd", text)


def table(*columns: str, rows: Iterable[Iterable[object]], title: str | None = None) -> Table:
    """A table; columns of numbers are set right, integers with thousands marks, None as nothing."""
    made = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in _NUMBERS else "left", overflow="fold")
    for row in rows:
        made.add_row(*("" if c is None else f"{c:,}" if isinstance(c, int) else plain(str(c)) for c in row))
    return made


_NUMBERS = {
    "rows",
    "seconds",
    "in log",
    "bronze",
    "dead",
    "replayed",
    "lost",
    "expired",
    "doubled",
    "pending",
    "read",
    "produced",
    "same",
    "refused",
    "version",
    "files",
    "hours",
    "files before",
    "files after",
}


def simulation(plays: int, listeners: int, days: int, seed: int, end: datetime | None) -> Any:
    """What the simulator is asked for, from the options of a command."""
    from playlake.sources.simulator import Simulation
    from playlake.sources.simulator.listening import DEFAULT_END

    return Simulation(plays, listeners, days, seed, end.replace(tzinfo=UTC) if end else DEFAULT_END)
