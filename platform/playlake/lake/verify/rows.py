"""The rows of the lake, read by DuckDB straight from the Parquet files, and compared with the log's offsets."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from playlake.errors import was_interrupted
from playlake.lake.dead import Sql
from playlake.lake.verify import expired
from playlake.lake.verify.files import Files
from playlake.lake.verify.report import SAMPLE, FileFinding, PartitionReport, Report

_READ = "read_parquet(?, hive_partitioning = false, union_by_name = true"
_EVERY_PAGE = f"select bit_xor(every) from (select hash(*columns(*)) as every from {_READ}))"
"""Reading every column is what finds a damaged page; the footer alone would not."""


@dataclass(frozen=True, slots=True)
class Log:
    """What the broker has of a topic now."""

    topic: str
    topic_id: str | None
    offsets: Mapping[int, array[int]]
    starts: Mapping[int, int]
    """By partition, the first offset that it may still have."""
    unread: Mapping[int, int]


def readable(sql: Sql, files: Files, report: Report, answers: Callable[[str], object]) -> list[str]:
    """The files whose every page can be read; the others are reported.

    All are read in one go. Only where that fails is each read by itself.

    :param answers: gets a file from the store, and raises where that does not give it: then nothing is said of the
        file, which may be as whole as any.
    """
    found = list(files.whole)
    if found:
        try:
            sql.execute(_EVERY_PAGE, [found]).fetchall()
        except Exception as error:
            if _is_ours(error):
                raise
            found = [path for path in found if _is_readable(sql, path, report, answers)]
    # What is wrong with these has been told already.
    return found + [path for path in files.doubtful if _is_readable(sql, path, Report(), answers)]


def _is_readable(sql: Sql, path: str, report: Report, answers: Callable[[str], object]) -> bool:
    said = ""
    for _ in range(2):  # the store may have been away, and be there again
        try:
            sql.execute(_EVERY_PAGE, [[path]]).fetchall()
        except Exception as error:  # whatever DuckDB says of this file is the finding
            if _is_ours(error):
                raise
            said = " ".join(str(error).split())[:200]
            answers(path)
        else:
            return True
    report.damaged_files.append(FileFinding(path, said))
    return False


def _is_ours(error: Exception) -> bool:
    """Whether it says nothing of the files: a Ctrl-C, or a query that DuckDB does not understand."""
    return was_interrupted(error) or type(error).__name__ in ("BinderException", "ParserException", "CatalogException")


def check_folders(sql: Sql, files: Sequence[str], report: Report) -> None:
    """Report the files that hold rows of another hour than their folder's."""
    if not files:
        return
    wrong = sql.execute(
        f"select filename, count(*) from {_READ}, filename = true)"
        " where not contains(filename, strftime(_kafka_timestamp at time zone 'UTC',"
        " '/year=%Y/month=%m/day=%d/hour=%H/')) group by filename order by filename",
        [list(files)],
    ).fetchall()
    report.misplaced_files += [FileFinding(path, f"{n} rows of another hour") for path, n in wrong]


Ranges = dict[tuple[str, int], list[expired.Range]]
"""By a topic's id and the partition."""


@dataclass(frozen=True, slots=True)
class Gone:
    """What is written down of offsets that were gone: by the writer, and by who knows of it."""

    found: Ranges
    acknowledged: Ranges


def gaps(sql: Sql, files: Sequence[str], topic: str) -> Ranges:
    """What a table of gaps says of a topic."""
    found: Ranges = {}
    if files:
        rows = sql.execute(
            f"select _kafka_topic_id, _kafka_partition, first_offset, next_offset from {_READ}) where _kafka_topic = ?",
            [list(files), topic],
        ).fetchall()
        for topic_id, partition, first, following in rows:
            found.setdefault((topic_id, partition), []).append((int(first), int(following)))
    return found


def load(sql: Sql, bronze: Sequence[str], dead: Sequence[str], topic: str) -> None:
    """Put where each row of a topic stands in Kafka into ``lake_offsets``."""
    sql.execute("create or replace temp table lake_offsets (place varchar, topic_id varchar, part int, pos bigint)")
    for place, files in (("bronze", bronze), ("dead", dead)):
        if files:
            sql.execute(
                "insert into lake_offsets select ?, _kafka_topic_id, _kafka_partition, _kafka_offset"
                f" from {_READ}) where _kafka_topic = ?",
                [place, list(files), topic],
            )


def compare(
    sql: Sql, log: Log, position: Callable[[int], int], gone: Gone, *, begins_unsaid: bool = False
) -> list[PartitionReport]:
    """The partitions of a topic, of which :func:`load` has put the rows in place.

    :param position: the lake's next offset of a partition by its transactions, 0 where there is none.
    :param gone: what is written down of offsets that were gone (:func:`gaps`).
    :param begins_unsaid: whether a writer may have begun after the log's first offsets without writing that down.
    """
    held = {
        int(part): counts
        for part, *counts in sql.execute(
            "select part, count(*) filter (place = 'bronze'), count(*) filter (place = 'dead'),"
            " count(*) - count(distinct pos), min(pos), coalesce(max(pos) filter (place = 'bronze') + 1, 0)"
            " from lake_offsets where topic_id = ? group by part",
            [log.topic_id],
        ).fetchall()
    }
    _find_missing(sql, log)
    reports = []
    for partition, offsets in sorted(log.offsets.items()):
        bronze, dead, doubled, first, top = held.get(partition, (0, 0, 0, None, 0))
        # Passed over by the lake, whether its transactions or its rows say so. Dead letters do not: they come first.
        passed = max(position(partition), top)
        lost, pending = sql.execute(
            "select count(*) filter (pos < ?), count(*) filter (pos >= ?) from missing_offsets where part = ?",
            [passed, passed, partition],
        ).fetchall()[0]
        one = PartitionReport(
            log.topic,
            partition,
            log_start=offsets[0] if offsets else None,
            log_end=offsets[-1] + 1 if offsets else None,
            in_log=len(offsets),
            in_bronze=bronze,
            in_dead_letters=dead,
            lost=lost,
            doubled=doubled,
            pending=pending,
            unread=log.unread.get(partition, 0),
            topic_id=log.topic_id,
        )
        _tell_expired(
            sql, one, gone, expired.beyond(log.starts.get(partition, 0), passed, first if begins_unsaid else None)
        )
        if lost:
            one.lost_offsets = _sample(
                sql, "select pos from missing_offsets where part = ? and pos < ? order by pos", [partition, passed]
            )
        if doubled:
            one.doubled_offsets = _sample(
                sql,
                "select pos from lake_offsets where topic_id = ? and part = ? group by pos having count(*) > 1"
                " order by pos",
                [log.topic_id, partition],
            )
        reports.append(one)
    return reports + _former(sql, log, gone)


def _sample(sql: Sql, query: str, parameters: list[Any]) -> list[int]:
    return [int(at) for (at,) in sql.execute(f"{query} limit {SAMPLE}", parameters).fetchall()]


def _find_missing(sql: Sql, log: Log) -> None:
    """Put those offsets of the log that the lake has not into ``missing_offsets``."""
    sql.register("log_offsets", _table(log.offsets))
    sql.execute(
        "create or replace temp table missing_offsets as select part, pos from log_offsets anti join"
        " (select part, pos from lake_offsets where topic_id = ?) using (part, pos)",
        [log.topic_id],
    )
    sql.unregister("log_offsets")


def _table(offsets: Mapping[int, array[int]]) -> pa.Table:
    schema = pa.schema([("part", pa.int32()), ("pos", pa.int64())])
    parts = []
    for partition, found in offsets.items():
        buffer = pa.allocate_buffer(len(found) * found.itemsize)  # aligned as Arrow wishes, which an array is not
        memoryview(buffer).cast("B")[:] = memoryview(found).cast("B")
        positions = pa.Array.from_buffers(pa.int64(), len(found), [None, buffer])
        parts.append(
            pa.Table.from_arrays([pa.repeat(pa.scalar(partition, pa.int32()), len(found)), positions], schema=schema)
        )
    return pa.concat_tables(parts) if parts else schema.empty_table()


def _tell_expired(sql: Sql, one: PartitionReport, gone: Gone, by_log: Sequence[expired.Range] = ()) -> None:
    """:param by_log: what the beginning of the log alone says."""
    place = (one.topic_id or "", one.partition)
    everything = expired.merged([*gone.found.get(place, ()), *by_log])
    unknown = expired.without(everything, gone.acknowledged.get(place, ()))
    for first, following in unknown:
        if count := _not_held(sql, one, first, following):
            one.expired += count
            one.expired_ranges.append((first, following))
    one.acknowledged = sum(_not_held(sql, one, *known) for known in expired.without(everything, unknown))


def _not_held(sql: Sql, one: PartitionReport, first: int, following: int) -> int:
    """How many offsets of a range are nowhere in the lake."""
    found = sql.execute(
        "select count(distinct pos) from lake_offsets where topic_id = ? and part = ? and pos >= ? and pos < ?",
        [one.topic_id, one.partition, first, following],
    ).fetchall()
    return following - first - int(found[0][0])


def _former(sql: Sql, log: Log, gone: Gone) -> list[PartitionReport]:
    """Rows of earlier incarnations of the topic: their log is gone, but doubles would still show."""
    rows = sql.execute(
        "select topic_id, part, count(*) filter (place = 'bronze'), count(*) filter (place = 'dead'),"
        " count(*) - count(distinct pos) from lake_offsets where topic_id is distinct from ? group by all order by all",
        [log.topic_id],
    ).fetchall()
    reports = []
    for former, partition, bronze, dead, doubled in rows:
        one = PartitionReport(
            log.topic, partition, None, None, 0, bronze, dead, 0, doubled, 0, topic_id=former, former=True
        )
        _tell_expired(sql, one, gone)
        reports.append(one)
    return reports
