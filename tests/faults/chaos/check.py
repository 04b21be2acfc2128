"""After each round: everything lands, and log, lake and the feed's own book say the same."""

from __future__ import annotations

from collections import Counter
from typing import Any

from deltalake import DeltaTable

from playlake import events
from playlake.lake import tables
from playlake.lake.options import storage_options
from tests.faults.chaos.chronicle import ChaosError
from tests.faults.chaos.feed import Book
from tests.faults.chaos.stacks import Stack

WRONG = ("lost", "doubled", "expired", "unreadable", "missing", "wrong_size", "misplaced", "log_faults", "pending")
_NAMES = {topic: "track_id" if topic == events.NOW_PLAYING else "event_id" for topic in events.TOPICS}
"""The column that holds a message's own name."""


def check(stack: Stack, book: Book) -> dict[str, Any]:
    """Land what is left, verify, and compare with what was acknowledged. Returns the verifier's counts.

    :raises ChaosError: with what is wrong.
    """
    landed = stack.run("land", "--until-idle")
    if "error" in landed:
        raise ChaosError(f"nothing is wrong any more, and landing fails: {landed}")
    report = stack.run("lake", "verify")
    if "error" in report:
        raise ChaosError(f"nothing is wrong any more, and verifying fails: {report}")
    if found := {name: report[name] for name in WRONG if report[name]}:
        details = [p for p in report["partitions"] if p["lost"] or p["doubled"] or p["pending"]]
        raise ChaosError(f"verify: {found}; {details}; {report['findings'][:20]}")
    compare(stack, book)
    return {name: report[name] for name in (*WRONG, "files")}


def compare(stack: Stack, book: Book) -> None:
    """Look for what was acknowledged in a lake in which all of it should have landed.

    :raises ChaosError: with what is wrong.
    """
    _events(stack, book)
    _dead_letters(stack, book)


def _rows(stack: Stack, folder: str, columns: list[str]) -> list[dict[str, Any]]:
    settings = stack.direct
    table = DeltaTable(f"s3://{settings.s3_bucket}/{folder}", storage_options=storage_options(settings))
    found: list[dict[str, Any]] = table.to_pyarrow_table(columns=columns).to_pylist()
    return found


def _events(stack: Stack, book: Book) -> None:
    for topic, acknowledged in book.good.items():
        rows = _rows(stack, tables.FOLDERS[topic], [_NAMES[topic], "_kafka_partition", "_kafka_offset"])
        there = {row[_NAMES[topic]]: (row["_kafka_partition"], row["_kafka_offset"]) for row in rows}
        if len(there) != len(rows):  # each was sent once; what the log has no more, only this can tell
            raise ChaosError(f"{topic}: {len(rows) - len(there)} events are in the lake twice")
        if moved := [name for name, place in acknowledged.items() if there.get(name, place) != place]:
            raise ChaosError(f"{topic}: {len(moved)} events are not under the offset that they were given: {moved[:5]}")
        if missing := acknowledged.keys() - there.keys():
            raise ChaosError(f"{topic}: {len(missing)} acknowledged events are not in the lake: {sorted(missing)[:5]}")


def _dead_letters(stack: Stack, book: Book) -> None:
    place = ["_kafka_topic_id", "_kafka_partition", "_kafka_offset"]
    rows = _rows(stack, tables.DEAD_LETTERS_FOLDER, ["key", "value", "reason", *place])
    if twice := [at for at, n in Counter(tuple(row[c] for c in place) for row in rows).items() if n > 1]:
        raise ChaosError(f"{len(twice)} dead letters are there more than once: {twice[:5]}")
    count = Counter(row["key"].decode() for row in rows)
    if wrong := {name: count[name] for name in book.bad if count[name] != 1}:
        raise ChaosError(f"{len(wrong)} bad messages are not in dead letters exactly once: {list(wrong.items())[:5]}")
    known = {**book.unsure, **book.bad}
    if strangers := [name for name in count if name not in known]:
        raise ChaosError(f"{len(strangers)} dead letters that were no bad messages: {strangers[:5]}")
    for row in rows:
        if row["value"] != known[row["key"].decode()] or not row["reason"]:
            raise ChaosError(f"a dead letter's bytes are not what was sent, or it gives no reason: {row['key']!r}")
