"""An independent look at log and lake: is every offset in bronze or dead letters exactly once?

The broker's log is read from start to end by a client of its own, the store is listed, and the Parquet files are read
by DuckDB. Shared with the writer are the reader of Delta logs (:mod:`playlake.lake.log`), the store's client, names.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from playlake import broker, events
from playlake.lake.dead import Sql
from playlake.lake.deliver import app_id, gaps_passed
from playlake.lake.store import ERRORS, Store
from playlake.lake.tables import DEAD_LETTERS_FOLDER, FOLDERS, KNOWN_GAPS_FOLDER, LOG_GAPS_FOLDER, REPLAYS_FOLDER
from playlake.lake.verify import rows
from playlake.lake.verify.files import look
from playlake.lake.verify.report import FileFinding, Orphans, PartitionReport, Report
from playlake.lake.verify.rows import Gone, Log
from playlake.settings import Settings

__all__ = ["FileFinding", "Orphans", "PartitionReport", "Report", "Sql", "verify"]


def verify(settings: Settings, sql: Sql, *, on_progress: Callable[[str], None] | None = None) -> Report:
    """Compare the broker's log with the lake, and the lake's own logs with the store.

    :param sql: a DuckDB connection with the S3 extension and the store's secret.
    :raises UnavailableError: when the broker or the store does not answer.
    """
    say = on_progress or (lambda _text: None)
    report = Report()
    # A writer may be at work, so what is looked at later must never be behind what was looked at before: the log, each
    # table's version (rows and positions are of one), the dead letters, which are buried before their neighbours.
    logs = _logs(settings, say)
    report.withheld = broker.open_transactions(
        settings, [broker.TopicPartition(log.topic, partition) for log in logs.values() for partition in log.offsets]
    )
    store = Store(settings)
    try:
        _compare(settings, sql, store, logs, report, say)
    except ERRORS as error:
        raise store.failed("reading the lake", error) from error
    except Exception as error:
        if type(error).__name__ in ("IOException", "HTTPException"):  # DuckDB's, of files that it has read before
            raise store.failed("reading the lake", error) from error
        raise
    return report


def _compare(
    settings: Settings, sql: Sql, store: Store, logs: dict[str, Log], report: Report, say: Callable[[str], None]
) -> None:
    bronze, positions = {}, {}
    own = f"s3://{settings.s3_bucket}/"

    def answers(path: str) -> None:
        if path.startswith(own):
            with suppress(FileNotFoundError):
                store.read(path.removeprefix(own))

    for topic in events.TOPICS:
        say(f"reading the lake's {FOLDERS[topic]}")
        found = look(store, settings.s3_bucket, FOLDERS[topic], report)
        positions[topic] = found.positions
        bronze[topic] = rows.readable(sql, found, report, answers)
        rows.check_folders(sql, bronze[topic], report)
    say(f"reading the lake's {DEAD_LETTERS_FOLDER}")
    dead = rows.readable(sql, look(store, settings.s3_bucket, DEAD_LETTERS_FOLDER, report), report, answers)
    rows.check_folders(sql, dead, report)
    gaps, known, _ = (
        rows.readable(sql, look(store, settings.s3_bucket, folder, report), report, answers)
        for folder in (LOG_GAPS_FOLDER, KNOWN_GAPS_FOLDER, REPLAYS_FOLDER)
    )
    for topic, log in logs.items():
        say(f"comparing {topic}")

        def position(partition: int, log: Log = log) -> int:
            return positions[log.topic].get(app_id(log.topic, log.topic_id or "", partition), 0)

        _refuse_a_part(settings, log, position)
        rows.load(sql, bronze[topic], dead, topic)

        gone = Gone(rows.gaps(sql, gaps, topic), rows.gaps(sql, known, topic))
        for topic_id, number, first, following in gaps_passed(positions[topic], topic):
            gone.found.setdefault((topic_id, number), []).append((first, following))
        # Tansu does not refuse an offset that is gone: a writer may have begun there and not have written it down.
        unsaid = settings.profile == "embedded"
        report.partitions += rows.compare(sql, log, position, gone, begins_unsaid=unsaid)


def _refuse_a_part(settings: Settings, log: Log, position: Callable[[int], int]) -> None:
    """What the broker claims and does not give can't be compared. Marks of transactions are such, and, on Tansu 0.6,
    offsets of a batch that it could not write: none of them has landed.

    :raises UnavailableError: where any has.
    """
    claims = {}
    for partition, count in log.unread.items():
        read = log.offsets[partition]
        if position(partition) > (read[-1] + 1 if read else 0):
            claims[log.topic, partition] = count
    if claims:
        raise broker.withheld(settings, claims)


def _logs(settings: Settings, say: Callable[[str], None]) -> dict[str, Log]:
    """By topic, every offset that the broker has now."""
    with broker.Admin(settings) as admin:
        topics = admin.topics(events.TOPICS)
    partitions = {name: info.partitions for name, info in topics.items()}
    say("reading the log")
    starts = broker.log_starts(
        settings, [broker.TopicPartition(name, p) for name, count in partitions.items() for p in range(count)]
    )
    unread: dict[broker.TopicPartition, int] = {}
    found = broker.read_offsets(
        settings,
        partitions,
        on_progress=lambda count: say(f"reading the log: {count:,} messages"),
        on_unread=lambda tp, position, claimed: unread.update({tp: claimed - position}),
    )
    return {
        topic: Log(
            topic,
            topics[topic].topic_id if topic in topics else None,
            {tp.partition: offsets for tp, offsets in found.items() if tp.topic == topic},
            {tp.partition: start for tp, start in starts.items() if tp.topic == topic},
            {tp.partition: count for tp, count in unread.items() if tp.topic == topic},
        )
        for topic in events.TOPICS
    }
