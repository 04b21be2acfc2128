"""Interactions from a CSV file: ``user,item,count[,time]``."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from playlake.errors import PlaylakeError, UsageError

_SHOWN = 5
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


def read(path: Path, say: Callable[[str], None]) -> Given:
    """Read a file. Its first line names the columns, in any order: user, item, count and, where known, time.

    A time is seconds since 1970 or a date and time as ISO 8601 writes them, UTC where it does not say. A row that
    can't be used is refused with its line and reason. A row is a line: a quote that is not closed costs no other row.

    :raises UsageError: when there is no such file, or its first line does not name the columns.
    :raises PlaylakeError: when no row can be used, or the file is no text.
    """
    users: list[str] = []
    items: list[str] = []
    times: list[datetime] = []
    counts: list[int] = []
    given = Given(pa.table({}), timed=False)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            columns = _columns(path, next(stream, ""))
            given.timed = "time" in columns
            for number, line in enumerate(stream, 2):
                if number % 100_000 == 0:
                    say(f"{number:,} lines read")
                try:
                    row = _cells(line)
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
        raise PlaylakeError(f"{path} is no CSV file in UTF-8: {error}. Save it as one and run this again.") from error
    except OSError as error:
        raise UsageError(
            f"{path} can't be read: {error.strerror}. Give a CSV file, or none to evaluate the lake."
        ) from error
    if not users:
        why = f" The first: {given.reasons[0]}." if given.reasons else ""
        raise PlaylakeError(f"{path} has no row that can be used; {given.refused:,} were refused.{why}")
    given.rows = pa.table(
        {
            "user_id": users,
            "track_id": items,
            "played_at": pa.array(times, pa.timestamp("us", "UTC")),
            "count": pa.array(counts, pa.int64()),
        }
    )
    return given


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r\n")], strict=True), [])
    except csv.Error as error:
        if "end of data" in str(error):
            raise ValueError('a quote (") is not closed on its line') from None
        if "field limit" in str(error):
            raise ValueError(f"a field is longer than {csv.field_size_limit():,} characters") from None
        raise ValueError("a quote (\") is closed before the field's end") from None


def _columns(path: Path, header: str) -> dict[str, int]:
    wanted = f"The first line of {path} must name the columns user, item, count and, where known, time"
    try:
        columns = {name.strip().lower(): place for place, name in enumerate(_cells(header))}
    except ValueError as error:
        raise UsageError(f"{wanted}, and in it {error}.") from None
    missing = [name for name in ("user", "item", "count") if name not in columns]
    if missing:
        raise UsageError(f"{wanted}; {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing.")
    return columns


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
