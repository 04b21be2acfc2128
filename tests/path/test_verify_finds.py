"""Each thing that can be wrong with a lake, done to a real one, is found by `lake verify`, and nothing else is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from playlake.broker import Producer, read_offsets
from playlake.errors import UnavailableError
from playlake.events import PLAYS
from playlake.lake import compact, tables
from playlake.lake.options import storage_options
from playlake.lake.schema import REPLAYS
from playlake.lake.store import Store
from playlake.lake.verify import verify
from playlake.lake.verify.report import FileFinding, Report
from playlake.warehouse import duck
from tests.support.commands import Cli
from tests.support.lakes import addressed
from tests.support.s3_proxy import Faults, S3Proxy


class Broken:
    """A lake in which something is wrong until the test has ended."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        self.settings = cli.settings()
        self.store = Store(self.settings)
        self.undo: list[Callable[[], object]] = []
        self.uri = f"s3://{self.settings.s3_bucket}/bronze/plays"

    @property
    def delta(self) -> DeltaTable:
        return DeltaTable(self.uri, storage_options=storage_options(self.settings))

    def live(self) -> list[str]:
        """Keys of live files, those with the most rows first."""
        found = pa.table(self.delta.get_add_actions()).to_pylist()
        return [f"bronze/plays/{a['path']}" for a in sorted(found, key=lambda a: -a["num_records"])]

    def change(self, key: str, body: bytes | None) -> bytes:
        """Put other bytes at a key, or none; what was there."""
        before = self.store.read(key)
        self.undo.append(lambda: self.store.write(key, before))
        if body is None:
            self.store.delete(key)
        else:
            self.store.write(key, body)
        return before

    def look(self) -> Report:
        """What the verifier finds, in this process."""
        with duck.connect(self.settings) as connection:
            return verify(self.settings, connection)

    def found(self, **wanted: int) -> Report:
        """The report, which has these counts and no others."""
        report = self.look()
        found = {
            "lost": report.lost,
            "expired": report.expired,
            "doubled": report.doubled,
            "unreadable": report.unreadable,
            "missing": len(report.missing_files),
            "wrong_size": len(report.wrong_size_files),
            "misplaced": report.misplaced,
            "log_faults": len(report.log_faults),
            "pending": sum(p.pending for p in report.partitions),
        }
        assert {name: count for name, count in found.items() if count} == wanted, report.findings
        assert report.healthy is not bool(set(wanted) - {"pending"})
        return report


@pytest.fixture(scope="module")
def landed(cli: Cli) -> Cli:
    """A lake with several commits."""
    for seed in range(3):
        cli("simulate", "--plays", "400", "--listeners", "5", "--seed", str(seed))
        cli("land", "--until-idle")
    return cli


@pytest.fixture
def broken(landed: Cli) -> Iterator[Broken]:
    made = Broken(landed)
    yield made
    for undo in reversed(made.undo):
        undo()
    made.found()


def land_two_commits(cli: Cli) -> None:
    """The last two entries of the log have rows then, and no checkpoint, whatever other tests have done before."""
    for seed in (101, 102):
        cli("simulate", "--plays", "50", "--listeners", "5", "--seed", str(seed))
        cli("land", "--until-idle")


def rows_in(broken: Broken, key: str) -> int:
    actions = pa.table(broken.delta.get_add_actions()).to_pylist()
    return next(int(a["num_records"]) for a in actions if key.endswith(a["path"]))


def test_a_missing_file(broken: Broken) -> None:
    key = broken.live()[0]
    broken.change(key, None)
    report = broken.found(missing=1, unreadable=1, lost=rows_in(broken, key))
    path = f"s3://{broken.settings.s3_bucket}/{key}"
    assert report.findings == [FileFinding(path, "the store has no such file")]
    told = broken.cli("lake", "verify", "--json", check=1).json
    assert (told["healthy"], told["missing"], told["unreadable"], told["lost"]) == (False, 1, 1, report.lost)
    assert told["findings"] == [{"path": path, "what": "the store has no such file"}]
    said = broken.cli("lake", "verify", check=1).out
    assert "1 unreadable" in said
    assert "the store has no such file" in said
    assert "What to do is told in docs/lake.md" in said


def test_a_missing_file_of_what_was_replayed(broken: Broken) -> None:
    """Without it the same dead letters would be sent again, and nobody told."""
    table = tables.replays(broken.settings)
    table.open()
    now = datetime.now(UTC)
    values = (PLAYS, "an-id", 0, 0, now)
    row = pa.Table.from_arrays([pa.array([v], f.type) for v, f in zip(values, REPLAYS, strict=True)], schema=REPLAYS)
    table.append(row, {}, {})
    [key] = [key for key in broken.store.keys(table.folder) if key.endswith(".parquet")]
    broken.change(key, None)
    broken.found(missing=1, unreadable=1)


def test_a_truncated_file(broken: Broken) -> None:
    key = broken.live()[0]
    whole = broken.store.read(key)
    broken.change(key, whole[:-100])
    report = broken.found(wrong_size=1, unreadable=1, lost=rows_in(broken, key))
    assert report.findings[0].what == f"{len(whole) - 100:,} bytes where the log has {len(whole):,}"


def test_a_file_that_grew_but_can_be_read_has_its_rows(broken: Broken) -> None:
    key = broken.live()[0]
    whole = broken.store.read(key)
    broken.change(key, whole[:4] + b"\0" * 10 + whole[4:])  # pages are no longer where the footer says
    assert broken.found(wrong_size=1, unreadable=1, lost=rows_in(broken, key)).files > 1


def test_a_damaged_page_in_a_file_of_the_right_size(broken: Broken) -> None:
    key = broken.live()[0]
    whole = broken.store.read(key)
    broken.change(key, whole[:4] + bytes(60) + whole[64:])  # of the first column; positions are in other ones
    report = broken.found(unreadable=1, lost=rows_in(broken, key))
    assert report.findings[0].path.endswith(key)


class Mending:
    """A connection at whose first failure the store is well again."""

    def __init__(self, connection: Any, store: S3Proxy) -> None:
        self.connection, self.store = connection, store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def execute(self, *args: Any) -> Any:
        try:
            return self.connection.execute(*args)
        except Exception:
            self.store.faults = Faults()
            raise


@pytest.mark.parametrize("fault", ["500", "reset"])
@pytest.mark.parametrize("mended", [True, False], ids=["mended", "away"])
def test_a_store_that_fails_meanwhile_is_no_damage(broken: Broken, fault: str, mended: bool) -> None:
    """A soak was told of 4,242 lost rows, when the store was killed while its files were read."""
    with S3Proxy(broken.settings.s3_endpoint) as store:
        through = addressed(broken.settings, s3_endpoint=store.url)
        with duck.connect(through) as connection:
            store.faults = Faults({fault: 1.0}, match=r"(?<!checkpoint)\.parquet")
            if mended:
                report = verify(through, Mending(connection, store))
                assert (report.healthy, report.unreadable) == (True, 0)
            else:
                with pytest.raises(UnavailableError, match="failed at reading the lake"):
                    verify(through, connection)


def test_an_entry_of_the_log_that_is_gone(broken: Broken) -> None:
    land_two_commits(broken.cli)
    version = broken.delta.version() - 1
    broken.change(f"bronze/plays/_delta_log/{version:020}.json", None)
    report = broken.look()
    assert (len(report.log_faults), report.healthy) == (1, False)
    assert f"the log has no version {version} though it has version {version + 1}" in report.findings[0].what
    assert report.lost > 0, "its rows are in no file that the log knows"
    said = broken.cli("lake", "verify", check=1).out
    assert "keep them" in said, "what the log has forgotten is among them"
    assert "no harm" not in said


def test_an_entry_of_the_log_that_can_not_be_read(broken: Broken) -> None:
    land_two_commits(broken.cli)  # an entry before a checkpoint is not read
    version = broken.delta.version()
    key = f"bronze/plays/_delta_log/{version:020}.json"
    broken.change(key, broken.store.read(key)[:-30])
    report = broken.look()
    assert (len(report.log_faults), report.healthy) == (1, False)
    assert f"version {version} of the log can't be read" in report.findings[0].what


@pytest.mark.parametrize("damage", ["torn", "footer", "missing", "pointer"])
def test_a_checkpoint_that_can_not_be_read(broken: Broken, damage: str) -> None:
    version = broken.delta.version()
    broken.delta.create_checkpoint()
    pointer, key = (f"bronze/plays/_delta_log/{n}" for n in ("_last_checkpoint", f"{version:020}.checkpoint.parquet"))
    broken.found()
    if damage == "pointer":
        broken.change(pointer, b"{")
    else:
        whole = broken.store.read(key)
        size = int.from_bytes(whole[-8:-4], "little")
        footer = whole[: -8 - size] + bytes(40) + whole[32 - size :]  # of which pyarrow says what it says of a disk
        broken.change(key, {"torn": b"PAR1" * 10, "footer": footer}.get(damage))
    report = broken.found(log_faults=1)
    unread = f"checkpoint of version {version} can't"
    words = {"torn": unread, "footer": unread, "missing": "is missing", "pointer": "_last_checkpoint"}
    assert words[damage] in report.findings[0].what
    broken.cli("land", "--until-idle")  # a writer begins at the entries before it


def test_a_log_of_which_the_broker_gives_a_part_is_not_compared(
    broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said that all was well, of what it had read."""
    assert read_offsets.__kwdefaults__
    monkeypatch.setitem(read_offsets.__kwdefaults__, "stall_s", 5.0)
    log = Store(broken.settings.model_copy(update={"s3_bucket": "playlake-kafka-log"}))
    last = max(k for k in log.keys("clusters") if f"/topics/{PLAYS}/" in k and k.endswith(".batch"))
    body = log.read(last)
    log.delete(last)
    broken.undo.append(lambda: log.write(last, body))
    with pytest.raises(UnavailableError, match=f"more messages of {PLAYS}"):
        broken.look()
    assert "gives none of them" in broken.cli("lake", "verify", check=1).err


def test_a_stray_file_is_told_and_no_fault(broken: Broken) -> None:
    began = time.time()
    key = f"{broken.live()[0].rpartition('/')[0]}/stray.parquet"
    broken.store.write(key, broken.store.read(broken.live()[0]))
    broken.undo.append(lambda: broken.store.delete(key))
    report = broken.found()
    assert (report.orphans.files, report.orphans.bytes) == (1, len(broken.store.read(key)))
    assert report.orphans.oldest_s is not None
    assert 0 <= report.orphans.oldest_s <= time.time() - began + 1
    assert "no version knows" in (said := broken.cli("lake", "verify").out)
    assert "no harm" in said


def test_rows_that_came_twice_are_still_doubled_after_a_compaction(broken: Broken) -> None:
    settings, delta = broken.settings, broken.delta
    rows = pa.table(delta.to_pyarrow_table()).slice(0, 7)
    write_deltalake(delta, rows, mode="append")
    version = delta.version() - 1
    broken.found(doubled=7)
    done = compact.compact(settings, tables.bronze(settings, PLAYS), older_than_s=-7200)
    assert done.hours > 0
    report = broken.found(doubled=7)
    assert sum(len(p.doubled_offsets) for p in report.partitions) > 0
    broken.undo.append(lambda: broken.delta.restore(version))


def test_a_row_lost_is_not_made_up_for_by_one_that_came_twice(broken: Broken) -> None:
    """The counts of log and lake are equal then; the offsets are not."""
    delta = broken.delta
    rows = pa.table(delta.to_pyarrow_table()).sort_by(
        [("_kafka_partition", "ascending"), ("_kafka_offset", "ascending")]
    )
    assert rows["_kafka_partition"][0] == rows["_kafka_partition"][1]
    version = delta.version()
    write_deltalake(delta, pa.concat_tables([rows.slice(1), rows.slice(1, 1)]), mode="overwrite")
    broken.undo.append(lambda: broken.delta.restore(version))
    broken.found(lost=1, doubled=1)


def test_what_compaction_replaced_is_no_orphan(broken: Broken) -> None:
    done = compact.compact(broken.settings, tables.bronze(broken.settings, PLAYS), older_than_s=-7200)
    report = broken.found()
    assert report.orphans.files == 0
    assert done.left == 0


def test_what_the_writer_found_gone_is_expired_but_not_what_the_lake_has(broken: Broken) -> None:
    report = broken.found()
    part = next(p for p in report.partitions if p.topic == PLAYS and p.in_bronze > 20)
    topic_id = pa.table(broken.delta.to_pyarrow_table(columns=["_kafka_topic_id"]))["_kafka_topic_id"][0].as_py()
    end = part.log_end or 0
    gaps = pa.table(
        {
            "_kafka_topic": [PLAYS, PLAYS],
            "_kafka_topic_id": [topic_id, topic_id],
            "_kafka_partition": pa.array([part.partition] * 2, pa.int32()),
            "first_offset": [end + 100, end - 10],
            "next_offset": [end + 130, end - 5],  # the lake has the second: it is not gone
        }
    )
    uri = f"s3://{broken.settings.s3_bucket}/{tables.LOG_GAPS_FOLDER}"
    write_deltalake(uri, gaps, storage_options=storage_options(broken.settings))
    try:
        found = broken.found(expired=30)
        assert "expired: Kafka's retention removed them before" in broken.cli("lake", "verify", check=1).out
        told = broken.cli("lake", "acknowledge", "--dry-run").out
        assert f"{end + 100:,} to {end + 129:,}" in told
        broken.found(expired=30)
        assert "30 expired offsets acknowledged now, 0 before" in broken.cli("lake", "acknowledge").out
        assert broken.found().acknowledged == 30
        later = gaps.slice(0, 1).set_column(4, "next_offset", pa.array([end + 131]))
        write_deltalake(uri, later, mode="append", storage_options=storage_options(broken.settings))
        assert broken.found(expired=1).acknowledged == 30
    finally:
        for folder in (tables.LOG_GAPS_FOLDER, tables.KNOWN_GAPS_FOLDER):
            for key in broken.store.keys(folder):
                broken.store.delete(key)
    mine = next(p for p in found.partitions if p.expired)
    assert (mine.partition, mine.expired_ranges) == (part.partition, [(end + 100, end + 130)])


def test_what_was_never_landed_is_pending_and_no_fault(broken: Broken) -> None:
    with Producer(broken.settings) as producer:
        producer.send(PLAYS, "someone", b"no event")
    broken.found(pending=1)
    broken.cli("land", "--until-idle")
