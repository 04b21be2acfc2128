"""A short run of `make chaos`, and that its check finds what is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake

from playlake import events
from playlake.lake import tables
from playlake.lake.options import storage_options
from tests.faults.chaos.check import check, compare
from tests.faults.chaos.chronicle import ChaosError
from tests.faults.chaos.feed import Feed
from tests.faults.chaos.fleet import Member
from tests.faults.chaos.plans import Plan
from tests.faults.chaos.run import run
from tests.faults.chaos.stacks import Stack
from tests.support.commands import stopped
from tests.support.waiting import wait_for

SEED = int(os.environ.get("CHAOS_SEED", "20261126"))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("chaos"), SEED) as made:
        yield made


def test_writers_that_die_and_freeze_lose_and_double_nothing(stack: Stack, tmp_path: Path) -> None:
    done = run(stack, tmp_path, seed=SEED, kills=15, rate=80, stall_s=4.0)
    print(done.markdown())
    assert done.kills >= 15
    assert done.messages["acknowledged"] > 500
    assert done.messages["bad"] > 5
    assert {n for name, n in done.verified.items() if name != "files"} == {0}


def test_a_writer_that_freezes_on_its_way_out_is_woken(stack: Stack, tmp_path: Path) -> None:
    # A writer that is alone gives its partitions back at its end only.
    member = Member(stack, tmp_path / "log", Plan("freeze", "in-revoke", 1, 0.0, 30), group="chaos-woken")
    try:
        wait_for(lambda: member.reading_s is not None)
        member.process.terminate()
        wait_for(lambda: stopped(member.process))
        assert member.woken_until_it_ends() == 0, member.log.read_text()
    finally:
        member.process.kill()
        member.process.wait()


@contextmanager
def _finding(what: str) -> Iterator[None]:
    with pytest.raises(ChaosError, match=what):
        yield


def test_the_check_finds_what_is_missing_strange_changed_and_doubled(tmp_path: Path) -> None:
    with Stack(tmp_path, SEED) as stack:
        feed = Feed(stack.direct, SEED, 300, idempotent=stack.idempotent)
        feed.start()
        wait_for(lambda: len(feed.book.bad) >= 5)
        feed.settle()
        book = feed.book
        feed.go_on()
        feed.stop()
        assert check(stack, book)["lost"] == 0
        name = min(book.bad)
        some = next(iter(book.good[events.PLAYS]))
        place = book.good[events.PLAYS][some]
        book.good[events.PLAYS][some] = (place[0], place[1] + 1)
        with _finding("not under the offset that they were given"):
            compare(stack, book)
        book.good[events.PLAYS][some] = place
        book.good[events.PLAYS]["never-sent"] = (0, 0)
        with _finding("acknowledged events are not in the lake"):
            compare(stack, book)
        del book.good[events.PLAYS]["never-sent"]
        value = book.bad.pop(name)
        with _finding("were no bad messages"):
            compare(stack, book)
        book.bad[name] = b"changed"
        with _finding("bytes are not what was sent"):
            compare(stack, book)
        book.bad[name] = value
        book.bad["never-sent"] = b""
        with _finding("not in dead letters exactly once"):
            compare(stack, book)
        del book.bad["never-sent"]
        uri = f"s3://{stack.direct.s3_bucket}/{tables.FOLDERS[events.PLAYS]}"
        options = storage_options(stack.direct)
        one = DeltaTable(uri, storage_options=options).to_pyarrow_table().slice(0, 1)
        write_deltalake(uri, one, mode="append", storage_options=options)
        with _finding("'doubled': 1"):
            check(stack, book)
        with _finding("1 events are in the lake twice"):
            compare(stack, book)
