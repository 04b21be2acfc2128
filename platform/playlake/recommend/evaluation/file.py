"""Interactions from a text file with columns: ``user,item,count[,time]``, whatever they are called and parted by."""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from playlake.errors import PlaylakeError, UsageError

_SHOWN = 5
_DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_NAMES = {
    "user": ("user", "userid", "listener", "listenerid", "username", "u"),
    "item": (
        *("item", "itemid", "track", "trackid", "song", "songid", "artist", "artistid", "movie", "movieid", "i"),
        *("tracks", "artists", "album", "albumid"),
    ),
    "count": ("count", "counts", "plays", "playcount", "listens", "listencount", "weight", "frequency", "rating"),
    "time": ("time", "timestamp", "playedat", "listenedat", "datetime", "date", "unixtime"),
}
"""What columns are called in the files that people have, without case, blanks and underscores; the first name wins."""
_MOST_PLAYS = 1_000_000
_NO_TIME = datetime(2000, 1, 1, tzinfo=UTC)
_EARLIEST, _LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Given:
    """What a file holds: ``rows`` for the trial (user_id, track_id, played_at, count), and what was refused."""

    rows: pa.Table
    timed: bool
    refused: int = 0
    reasons: list[str] = field(default_factory=list)
    """Of the first few refused rows: the line and why."""
    read_as: str = ""
    """What the columns were taken for, where the file does not name them user, item, count, time."""


def read(path: Path, say: Callable[[str], None]) -> Given:
    """Read a file. Its first line names the columns, in any order: user, item, count and, where known, time.

    Other names that say the same are understood (``userID``, ``play_count``, ``weight``), and so are tabs, semicolons
    and bars in place of commas. A first line of data is read as user, item, count and, where there are four, time.

    A time is seconds since 1970 or a date and time as ISO 8601 writes them, UTC where it does not say. A row that
    can't be used is refused with its line and reason. A row is a line: a quote that is not closed costs no other row.

    :raises UsageError: when there is no such file, its first line names a column twice, or it has no such columns.
    :raises PlaylakeError: when no row can be used, or the file is no text.
    """
    users: list[str] = []
    items: list[str] = []
    times: list[datetime] = []
    counts: list[int] = []
    given = Given(pa.table({}), timed=False)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            first = next(stream, "")
            form = _form(path, first)
            columns, given.read_as = form.columns, form.read_as
            given.timed = "time" in columns
            lines = enumerate(stream, 2) if form.named else enumerate(itertools.chain([first], stream), 1)
            for number, line in lines:
                if number % 100_000 == 0:
                    say(f"{number:,} lines read")
                try:
                    row = _cells(line, form.delimiter)
                    if not row:
                        continue
                    user, item, count, at = _parsed(row, columns)
                except ValueError as error:
                    given.refused += 1
                    if len(given.reasons) < _SHOWN:
                        given.reasons.append(f"line {number}: {error}")
                    continue
                users.append(user)
                items.append(item)
                counts.append(count)
                times.append(at)
    except UnicodeDecodeError as error:
        raise PlaylakeError(
            f"{path} is not UTF-8 text. If it is packed, unpack it; else save it as CSV in UTF-8, and run this again."
        ) from error
    except OSError as error:
        raise UsageError(
            f"{path} can't be read: {error.strerror}. Give a CSV file, or none to evaluate the lake."
        ) from error
    if not users:
        if not given.refused:
            raise PlaylakeError(f"{path} has no rows after its first line, which names the columns. Give one that has.")
        raise PlaylakeError(
            f"{path} has no row that can be used; {given.refused:,} were refused. The first: {given.reasons[0]}."
        )
    given.rows = pa.table(
        {
            "user_id": users,
            "track_id": items,
            "played_at": pa.array(times, pa.timestamp("us", "UTC")),
            "count": pa.array(counts, pa.int64()),
        }
    )
    return given


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r\n")], strict=True, delimiter=delimiter), [])
    except csv.Error as error:
        if "end of data" in str(error):
            raise ValueError('a quote (") is not closed on its line') from None
        if "field limit" in str(error):
            raise ValueError(f"a field is longer than {csv.field_size_limit():,} characters") from None
        raise ValueError("a quote (\") is closed before the field's end") from None


class _Form(NamedTuple):
    """How a file is to be read; ``columns`` are places by role, ``named`` whether its first line names them."""

    delimiter: str
    columns: dict[str, int]
    named: bool
    read_as: str


def _form(path: Path, first: str) -> _Form:
    wanted = f"The first line of {path} must name the columns user, item, count and, where known, time"
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        cells = [cell.strip() for cell in _cells(first, delimiter)]
    except ValueError as error:
        raise UsageError(f"{wanted}, and in it {error}.") from None
    names = [re.sub(r"[\W_]", "", cell).lower() for cell in cells]
    if twice := next((cells[n] for n, name in enumerate(names) if name and name in names[:n]), None):
        raise UsageError(f"The first line of {path} names the column {twice!r} twice. Rename one of them.")
    columns: dict[str, int] = {}
    for role, known in _NAMES.items():
        if found := next((name for name in known if name in names), None):
            columns[role] = names.index(found)
    missing = [role for role in ("user", "item", "count") if role not in columns]
    if not missing:
        plain = all(names[place] == role for role, place in columns.items())
        said = ", ".join(f"{role}: {cells[place]}" for role, place in columns.items())
        parted = "" if delimiter == "," else f", parted by {_DELIMITERS[delimiter]}"
        return _Form(delimiter, columns, True, f"{said}{parted}" if not plain or parted else "")
    if len(missing) == 3 and 3 <= len(cells) <= 4 and all(cells) and _is_number(cells[2]):
        roles = ("user", "item", "count", "time")[: len(cells)]
        said = f"the first line names no columns; they were taken for {', '.join(roles)}"
        return _Form(delimiter, dict(zip(roles, range(len(cells)), strict=True)), False, said)
    there = f" It has {', '.join(map(repr, cells[:8]))}, parted by {_DELIMITERS[delimiter]}." if any(cells) else ""
    raise UsageError(f"{wanted}; {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing.{there[:200]}")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _parsed(row: list[str], columns: dict[str, int]) -> tuple[str, str, int, datetime]:
    values = {name: row[place].strip() for name, place in columns.items() if place < len(row)}
    for name in ("user", "item", "count"):
        if not values.get(name):
            raise ValueError(f"no {name}")
    return values["user"], values["item"], _count(values["count"]), _time(values.get("time"), "time" in columns)


def _count(text: str) -> int:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (1 <= number <= _MOST_PLAYS and number == int(number)):
        raise ValueError(f"count {text[:20]!r} is no whole number from 1 to {_MOST_PLAYS:,}")
    return int(number)


def _time(text: str | None, wanted: bool) -> datetime:
    if not wanted:
        return _NO_TIME
    if not text:
        raise ValueError("no time")
    try:
        try:
            at = datetime.fromtimestamp(float(text), UTC)
        except ValueError:
            at = datetime.fromisoformat(text)
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        if not _EARLIEST <= at <= _LATEST:
            raise ValueError
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"time {text[:30]!r} is neither seconds since 1970 nor a date") from None
    return at
