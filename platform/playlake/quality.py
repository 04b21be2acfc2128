"""What an orchestrator asks of log and lake between its steps: is there anything new, did it arrive, is it good?"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from playlake import broker, events
from playlake.errors import UsageError
from playlake.lake import tables
from playlake.lake.positions import landed
from playlake.settings import Settings

WITHHELD = (
    "A producer began a transaction and did not end it: the messages land once it is committed, aborted, or the broker"
    " ends it (transaction.timeout.ms). End that producer's transaction, or abort it (kafka-transactions.sh abort)."
)
"""What is to be done about messages that an open transaction withholds."""


@dataclass(frozen=True, slots=True)
class Pending:
    """What is in Kafka and not in the lake: messages by topic, and the age in seconds of the oldest (None: none)."""

    messages: dict[str, int]
    oldest_s: float | None
    withheld: list[broker.Withheld] = field(default_factory=list)
    """What open transactions keep from every reader; it is not among ``messages``."""

    @property
    def total(self) -> int:
        """Messages of all topics."""
        return sum(self.messages.values())


def pending(settings: Settings) -> Pending:
    """What waits in Kafka to be landed. A topic that is not there yet has nothing.

    :raises UnavailableError: when broker or store are away.
    """
    with broker.Admin(settings) as admin:
        topics = admin.topics(events.TOPICS)
    positions = landed(settings, topics)
    found = broker.waiting(settings, positions) if positions else {}
    withheld = broker.open_transactions(settings, positions) if positions else []
    of_no_use = {broker.TopicPartition(w.topic, w.partition): w.end - w.first for w in withheld}
    messages = dict.fromkeys(events.TOPICS, 0)
    for tp, waits in found.items():
        messages[tp.topic] += max(0, waits.messages - of_no_use.get(tp, 0))
    oldest = min((w.oldest_ms for w in found.values()), default=None)
    return Pending(messages, None if oldest is None else max(0.0, time.time() - oldest / 1000), withheld)


def withheld(settings: Settings) -> list[broker.Withheld]:
    """What open transactions keep from every reader.

    :raises UnavailableError: when the broker is away.
    """
    with broker.Admin(settings) as admin:
        topics = admin.topics(events.TOPICS)
    partitions = [broker.TopicPartition(name, p) for name, info in topics.items() for p in range(info.partitions)]
    return broker.open_transactions(settings, partitions)


@dataclass(frozen=True, slots=True)
class Arrived:
    """Rows that the lake has gained since some version of each table.

    ``versions`` are the tables' versions now, to be given as ``since`` the next time. ``forgotten`` are the tables
    whose log does not know that version any more (Delta keeps 30 days): all of them is counted.
    """

    versions: dict[str, int]
    rows: dict[str, int] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)

    @property
    def refused(self) -> int:
        """Rows of dead letters among them."""
        return self.rows.get(tables.DEAD_LETTERS_FOLDER, 0)

    @property
    def total(self) -> int:
        """All rows, dead letters too."""
        return sum(self.rows.values())

    @property
    def refused_share(self) -> float:
        """Dead letters among all that arrived, 0 to 1; 0 where nothing did."""
        return self.refused / self.total if self.total else 0.0


def arrived(settings: Settings, since: Mapping[str, int]) -> Arrived:
    """What has arrived since these versions of the lake's tables; a table that is not named is counted whole.

    :raises UsageError: where ``since`` names no table, or a version that is still to come.
    :raises PlaylakeError: when the store is away.
    """
    now = tables.snapshot(settings)
    if wrong := sorted(since.keys() - now.keys()):
        raise UsageError(f"{', '.join(wrong)} is no table of the lake. Its tables are {', '.join(sorted(now))}.")
    if ahead := sorted(path for path, version in since.items() if not 0 <= version <= now[path]):
        raise UsageError(
            f"{ahead[0]} has no version {since[ahead[0]]}; it is at {now[ahead[0]]}. Was the lake deleted since?"
            " Ask again without it."
        )
    rows, forgotten = {}, []
    for path, version in now.items():
        before = since.get(path)
        if before == version:
            rows[path] = 0
            continue
        then = tables.rows_at(settings, path, before) if before is not None else 0
        if then is None:
            forgotten.append(path)
        rows[path] = (tables.rows_at(settings, path, version) or 0) - (then or 0)
    return Arrived(now, rows, forgotten)


def staleness(settings: Settings, found: Pending) -> str | None:
    """What is to be said if something waits in Kafka for longer than ``max_lag_s``; None if nothing does."""
    late = [w for w in found.withheld if time.time() - w.since_ms / 1000 > settings.max_lag_s]
    if late:
        return f"The lake is stale: {late[0]}. {WITHHELD}"
    if found.oldest_s is None or found.oldest_s <= settings.max_lag_s:
        return None
    return (
        f"The lake is stale: {found.total:,} messages wait in Kafka, the oldest for {found.oldest_s:,.0f} s"
        f" (PLAYLAKE_MAX_LAG_S allows {settings.max_lag_s:,.0f}). Run `playlake land`, and see that it ends well."
    )


def too_many_refused(settings: Settings, found: Arrived) -> str | None:
    """What is to be said if more than ``max_refused_share`` of what arrived are dead letters; None if not."""
    if found.refused_share <= settings.max_refused_share:
        return None
    return (
        f"{found.refused:,} of {found.total:,} messages were refused ({found.refused_share:.1%};"
        f" PLAYLAKE_MAX_REFUSED_SHARE allows {settings.max_refused_share:.1%}). They are kept, each with its reason,"
        f" in the lake's {tables.DEAD_LETTERS_FOLDER}: what produces them has changed. `playlake dlq list` shows"
        " them by reason."
    )
