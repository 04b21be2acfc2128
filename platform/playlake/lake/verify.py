"""An independent look at log and lake: is every offset in bronze or dead letters exactly once?

Nothing here is shared with the writer but the names of the folders. The log is read from start to end; the lake is read
by DuckDB, file by file, from the list of live files that DuckDB's own Delta reader gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from playlake import broker, events
from playlake.errors import was_interrupted
from playlake.lake.tables import DEAD_LETTERS_FOLDER, FOLDERS
from playlake.settings import Settings

SAMPLE = 5
"""Offsets named of each kind of finding."""


class Sql(Protocol):
    """A DuckDB connection that can read the lake."""

    def execute(self, query: str, parameters: Any = ...) -> Any: ...
    def register(self, name: str, value: Any) -> Any: ...
    def unregister(self, name: str) -> Any: ...


@dataclass(slots=True)
class PartitionReport:
    """One topic partition. Counts are of offsets."""

    topic: str
    partition: int
    log_start: int | None
    log_end: int | None
    in_log: int
    in_bronze: int
    in_dead_letters: int
    lost: int
    doubled: int
    pending: int
    unread: int = 0
    """Offsets at the end that the broker claims to have but does not give: never acknowledged, or lost by it."""
    lost_offsets: list[int] = field(default_factory=list)
    doubled_offsets: list[int] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether nothing is lost or doubled here."""
        return not (self.lost or self.doubled)


@dataclass(slots=True)
class FileFinding:
    """A live file that can't be read, or holds rows of another folder."""

    path: str
    what: str


@dataclass(slots=True)
class Report:
    """What was found. ``pending`` is produced but not landed yet, which is no fault."""

    partitions: list[PartitionReport] = field(default_factory=list)
    unreadable_files: list[FileFinding] = field(default_factory=list)
    misplaced_files: list[FileFinding] = field(default_factory=list)
    files: int = 0

    @property
    def lost(self) -> int:
        """Offsets that the lake passed over."""
        return sum(p.lost for p in self.partitions)

    @property
    def doubled(self) -> int:
        """Offsets that are there more than once, each surplus row counted."""
        return sum(p.doubled for p in self.partitions)

    @property
    def unreadable(self) -> int:
        """Live files that are missing or damaged."""
        return len(self.unreadable_files)

    @property
    def misplaced(self) -> int:
        """Live files that hold rows of another hour than their folder's."""
        return len(self.misplaced_files)

    @property
    def healthy(self) -> bool:
        """Whether nothing at all is wrong."""
        return not (self.lost or self.doubled or self.unreadable or self.misplaced)


def verify(settings: Settings, sql: Sql, *, on_progress: Callable[[str], None] | None = None) -> Report:
    """Compare the broker's log with the lake.

    :param sql: a DuckDB connection with the Delta and S3 extensions and the store's secret.
    :raises UnavailableError: when the broker or the store does not answer.
    """
    say = on_progress or (lambda _text: None)
    report = Report()
    with broker.Admin(settings) as admin:
        topics = admin.topics(events.TOPICS)
    # A writer may be at work, so what is looked at later must never be behind what was looked at before: the log, how
    # far the lake has passed it, the rows that were passed, the dead letters, which are buried before their neighbours.
    say("reading the log")
    unread: dict[broker.TopicPartition, int] = {}
    log = broker.read_offsets(
        settings,
        {name: info.partitions for name, info in topics.items()},
        on_progress=lambda rows: say(f"reading the log: {rows:,} messages"),
        on_unread=lambda tp, position, claimed: unread.update({tp: claimed - position}),
    )
    offsets = {t: {tp.partition: found for tp, found in log.items() if tp.topic == t} for t in events.TOPICS}
    ids = {topic: topics[topic].topic_id if topic in topics else None for topic in events.TOPICS}
    passed, bronze = {}, {}
    for topic in events.TOPICS:
        say(f"reading the lake's {FOLDERS[topic]}")
        passed[topic] = _positions(sql, settings, topic, ids[topic] or "", sorted(offsets[topic]))
        bronze[topic] = _readable_files(sql, settings, FOLDERS[topic], report)
    say(f"reading the lake's {DEAD_LETTERS_FOLDER}")
    dead = _readable_files(sql, settings, DEAD_LETTERS_FOLDER, report)
    for topic in events.TOPICS:
        _load_offsets(sql, bronze[topic], dead, topic)
        compared = _compare(sql, topic, ids[topic], offsets[topic], passed[topic])
        for partition in compared:
            partition.unread = unread.get(broker.TopicPartition(partition.topic, partition.partition), 0)
        report.partitions += compared
    for files in (*bronze.values(), dead):
        _check_folders(sql, files, report)
    return report


def _uri(settings: Settings, folder: str) -> str:
    return f"s3://{settings.s3_bucket}/{folder}"


def _readable_files(sql: Sql, settings: Settings, folder: str, report: Report) -> list[str]:
    """The live files of a table that can be read; those that can't are reported."""
    try:
        live = sql.execute("select data_file from delta_list_files(?)", [_uri(settings, folder)]).fetchall()
    except Exception as error:
        if _no_table(error):
            return []
        raise
    readable = []
    for (path,) in live:
        report.files += 1
        try:
            # Reading every column is what finds a damaged page; the footer alone would not.
            sql.execute("select max(hash(columns(*))) from read_parquet(?, hive_partitioning=false)", [path]).fetchall()
        except Exception as error:  # whatever DuckDB says of this file is the finding
            if was_interrupted(error):
                raise
            report.unreadable_files.append(FileFinding(path, " ".join(str(error).split())[:200]))
        else:
            readable.append(path)
    return readable


def _no_table(error: BaseException) -> bool:
    text = str(error)
    return "No files in log segment" in text or "MissingVersion" in text or "not a Delta table" in text


def _load_offsets(sql: Sql, bronze: Sequence[str], dead: Sequence[str], topic: str) -> None:
    sql.execute("create or replace temp table lake_offsets (place varchar, topic_id varchar, part int, pos bigint)")
    for place, files in (("bronze", bronze), ("dead", dead)):
        if files:
            sql.execute(
                "insert into lake_offsets select ?, _kafka_topic_id, _kafka_partition, _kafka_offset"
                " from read_parquet(?, hive_partitioning=false, union_by_name=true) where _kafka_topic = ?",
                [place, list(files), topic],
            )


def _positions(sql: Sql, settings: Settings, topic: str, topic_id: str, partitions: Sequence[int]) -> dict[int, int]:
    """The lake's next offsets by its transactions; 0 where there is none."""
    sql.execute(f"attach '{_uri(settings, FOLDERS[topic])}' as verified (type delta)")
    try:
        found = {}
        for p in partitions:
            app = f"{topic}:{topic_id}:{p}"
            row = sql.execute("select version from delta_get_transaction_version('verified', ?)", [app]).fetchone()
            found[p] = int(row[0]) if row and row[0] is not None else 0
    except Exception as error:
        if not _no_table(error):
            raise  # the connection is not used again
        found = dict.fromkeys(partitions, 0)
    sql.execute("detach verified")
    return found


def _compare(
    sql: Sql, topic: str, topic_id: str | None, log: dict[int, Any], positions: dict[int, int]
) -> list[PartitionReport]:
    reports = []
    for partition, offsets in sorted(log.items()):
        sql.register("log_offsets", pa.table({"pos": pa.array(offsets, pa.int64())}))
        mine = "from lake_offsets where topic_id = ? and part = ?"
        key = [topic_id, partition]
        # Passed over by the lake, whether its transactions or its rows say so. Dead letters do not: they come first.
        top = sql.execute(f"select coalesce(max(pos) + 1, 0) {mine} and place = 'bronze'", key).fetchone()[0]
        passed = max(positions[partition], top)
        missing = f"from log_offsets where pos not in (select pos {mine})"
        lost = [r[0] for r in sql.execute(f"select pos {missing} and pos < ? order by pos", [*key, passed]).fetchall()]
        pending = sql.execute(f"select count(*) {missing} and pos >= ?", [*key, passed]).fetchone()[0]
        doubled = sql.execute(
            f"select pos, count(*) - 1 {mine} group by pos having count(*) > 1 order by pos", key
        ).fetchall()
        places = dict(sql.execute(f"select place, count(*) {mine} group by place", key).fetchall())
        sql.unregister("log_offsets")
        reports.append(
            PartitionReport(
                topic,
                partition,
                log_start=min(offsets) if len(offsets) else None,
                log_end=max(offsets) + 1 if len(offsets) else None,
                in_log=len(offsets),
                in_bronze=places.get("bronze", 0),
                in_dead_letters=places.get("dead", 0),
                lost=len(lost),
                doubled=sum(n for _, n in doubled),
                pending=pending,
                lost_offsets=lost[:SAMPLE],
                doubled_offsets=[at for at, _ in doubled[:SAMPLE]],
            )
        )
    reports += _former(sql, topic, topic_id)
    return reports


def _former(sql: Sql, topic: str, topic_id: str | None) -> list[PartitionReport]:
    """Rows of earlier incarnations of the topic: their log is gone, but doubles would still show."""
    rows = sql.execute(
        "select topic_id, part, count(*) filter (place = 'bronze'), count(*) filter (place = 'dead'),"
        " count(*) - count(distinct pos) from lake_offsets where topic_id is distinct from ? group by all order by all",
        [topic_id],
    ).fetchall()
    return [
        PartitionReport(f"{topic} (former {former[:8]})", partition, None, None, 0, bronze, dead, 0, doubled, 0)
        for former, partition, bronze, dead, doubled in rows
    ]


def _check_folders(sql: Sql, files: Sequence[str], report: Report) -> None:
    if not files:
        return
    wrong = sql.execute(
        "select filename, count(*) from read_parquet(?, hive_partitioning=false, union_by_name=true, filename=true)"
        " where not contains(filename, strftime(_kafka_timestamp at time zone 'UTC',"
        " '/year=%Y/month=%m/day=%d/hour=%H/')) group by filename order by filename",
        [list(files)],
    ).fetchall()
    report.misplaced_files += [FileFinding(path, f"{n} rows of another hour") for path, n in wrong]
