"""Sending dead letters again: those that are events by today's rules.

What was sent again is noted in a table of its own, after the broker acknowledged it: a crash between the two sends it
twice, which the event's id absorbs in silver.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa

from playlake import broker, events, failpoints
from playlake.lake import tables
from playlake.lake.dead import DeadLetters, Row, Wanted, kind
from playlake.lake.drift import Drift
from playlake.settings import Settings


class Rules:
    """What makes a message an event today: the event's own rules, and the columns that the tables have.

    :param columns: gives the columns that the table of a topic has beside the event's own.
    """

    def __init__(self, columns: Callable[[str], dict[str, pa.DataType]]) -> None:
        self._columns = columns
        self._drifts: dict[str, Drift] = {}

    def refusal(self, topic: str, value: bytes | None, now_ms: int) -> str | None:
        """Why the message would become a dead letter if it were sent at ``now_ms``; None where it would not."""
        if topic not in self._drifts:
            self._drifts[topic] = Drift(self._columns(topic))
        try:
            self._drifts[topic].text_of(events.decode(topic, value, now_ms))
        except events.InvalidEventError as error:
            return str(error)
        return None


@dataclass(slots=True)
class Replayed:
    """What a replay did, or would do. ``refused`` counts by topic and kind of reason those that stay."""

    looked_at: int = 0
    sent: Counter[str] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)


def replay(
    settings: Settings,
    letters: DeadLetters,
    wanted: Wanted,
    *,
    again: bool = False,
    dry_run: bool = False,
    stopped: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda _text: None,
) -> Replayed:
    """Send dead letters again, key and bytes as they were, to their topics; only those that would land now.

    :param again: also those that were sent before.
    :param dry_run: only find out.
    :param stopped: is asked between two chunks of some thousand messages.
    :raises KeyboardInterrupt: when stopped, after what was sent has been noted.
    :raises PlaylakeError: when broker or store are away; what was noted will not be sent again.
    """
    say("looking for dead letters")
    picked = letters.pick(wanted, again=again)
    rules = Rules(lambda topic: _columns(settings, topic))
    done = Replayed()
    if not len(picked):
        return done
    if dry_run:
        for chunk in letters.read(picked):
            _accepted(chunk, rules, done)
            say(f"{done.looked_at:,} of {len(picked):,} looked at")
            if stopped():
                raise KeyboardInterrupt
        return done
    with broker.Admin(settings) as admin:
        admin.ensure(events.TOPICS)
    with broker.Producer(settings) as producer:
        for chunk in letters.read(picked):
            good = _accepted(chunk, rules, done)
            for topic, _, _, _, key, value in good:
                producer.send(topic, key, value)
            producer.flush()
            failpoints.hit("before-replay-is-noted")
            if good:
                letters.note([row[:4] for row in good], datetime.now(UTC))
            say(f"{done.looked_at:,} of {len(picked):,} looked at, {done.sent.total():,} sent")
            if stopped():
                raise KeyboardInterrupt
    return done


def _columns(settings: Settings, topic: str) -> dict[str, pa.DataType]:
    table = tables.bronze(settings, topic)
    table.open()
    return table.added_columns


def _accepted(chunk: list[Row], rules: Rules, done: Replayed) -> list[Row]:
    """Those of a chunk that would land; all are counted."""
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    good = []
    for row in chunk:
        reason = rules.refusal(row[0], row[5], now_ms)
        done.looked_at += 1
        if reason is None:
            done.sent[row[0]] += 1
            good.append(row)
        else:
            done.refused[row[0], kind(reason)] += 1
    return good
