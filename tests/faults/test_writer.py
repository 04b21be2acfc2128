"""The lake writer as a process: signals, several writers, a frozen one, a store or a broker that fails or hangs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from playlake import events
from playlake.broker import Admin, Consumer, TopicPartition
from playlake.lake import tables
from playlake.lake.table import WriteFailedError
from tests.support.commands import Cli, end, lands
from tests.support.lakes import assert_whole, store_behind_proxy
from tests.support.messages import landed, play, send
from tests.support.s3_proxy import Faults
from tests.support.scraping import free_port, scrape
from tests.support.waiting import pause, wait_for


def test_ctrl_c_twice_waits_for_no_store(own: Cli) -> None:
    with store_behind_proxy(own) as (store, through), through.start("land", "--json") as writer:
        before = send(own, play())
        wait_for(lambda: landed(own, before), every=1)
        store.faults = Faults({"stall": 1.0}, stall_s=600, match="PUT")
        ids = send(own, *(play() for _ in range(20)))
        wait_for(lambda: store.done["stall"])
        assert writer.stderr is not None
        writer.send_signal(signal.SIGINT)
        assert any("Ctrl-C once more" in line for line in writer.stderr)
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(3)
        done = end(writer, signal.SIGINT, timeout=10)
    assert done.code == 130
    assert json.loads(done.out)["error"].startswith("Interrupted."), done.out
    own("land", "--until-idle")
    assert_whole(own)
    assert landed(own, ids)


def goes_wrong(writer: subprocess.Popen[str]) -> None:
    """Wait until a flush has failed, and what was read was dropped."""
    assert writer.stderr is not None
    for line in writer.stderr:
        if "nothing can be landed now" in line:
            return
    raise AssertionError("it has ended")


@pytest.mark.parametrize("mended", ["before", "meanwhile", "never"])
def test_what_a_failed_flush_has_dropped_is_landed_before_the_end_or_said(own: Cli, mended: str) -> None:
    """Once it ended with 0, with messages neither buffered nor landed; it may read them again for 20 s at its end."""
    with store_behind_proxy(own) as (store, through), through.start("land", "--json") as writer:
        before = send(own, play())
        wait_for(lambda: landed(own, before), every=1)
        store.faults = Faults({"500": 1.0})
        ids = send(own, *(play() for _ in range(20)))
        goes_wrong(writer)
        if mended == "before":
            store.faults = Faults()
        writer.send_signal(signal.SIGTERM)
        if mended == "meanwhile":
            goes_wrong(writer)
            store.faults = Faults()
        out, err = writer.communicate(timeout=60)
    assert landed(own, ids) == (mended != "never")
    assert writer.returncode == (1 if mended == "never" else 0), err
    assert mended != "never" or "still in Kafka" in json.loads(out)["error"]
    own("land", "--until-idle")
    assert_whole(own)
    assert landed(own, ids)


def test_sigterm_while_it_starts_ends_it_well(cli: Cli) -> None:
    importing = Cli(cli.home)
    importing.env["PYTHONPROFILEIMPORTTIME"] = "1"  # a line for each module: these are the writer's imports
    with importing.start("land", "--json") as writer:
        assert writer.stderr is not None
        assert any(line.endswith("pyarrow.lib\n") for line in writer.stderr)
        done = end(writer, signal.SIGTERM, timeout=60)
    assert "joining" in done.err
    assert done.code == 0, done.err[-2000:]


def test_for_some_time(cli: Cli) -> None:
    ids = send(cli, play())
    for seconds in (8, 40):  # on a busy machine eight may be over before the first assignment
        started = time.monotonic()
        done = cli.run("land", "--for", f"{seconds}s", "--json")
        assert seconds <= time.monotonic() - started < seconds + 22
        if done.json["rows"]["user_plays"]:
            break
    assert done.json["rows"]["user_plays"] >= 1
    assert landed(cli, ids)


def test_writers_come_and_go_while_events_flow(cli: Cli) -> None:
    eager = Cli(cli.home, flush_seconds=1)
    feed = cli.start("simulate", "--rate", "200", "--json")
    writers = [eager.start("land", "--json")]
    assert lands(writers[0])
    writers += [eager.start("land", "--json") for _ in range(2)]
    assert all(map(lands, writers[1:]))
    ended = [end(writers.pop(0), signal.SIGTERM, timeout=60)]
    pause(3)
    writers[0].kill()
    writers.pop(0).communicate()
    pause(8)  # the session of the killed one times out, and the last one is assigned its partitions
    sent = end(feed, timeout=120)
    assert sent.code == 0, sent.err
    ended.append(end(writers.pop(), signal.SIGTERM, timeout=60))
    assert [done.code for done in ended] == [0, 0], [done.err for done in ended]
    cli("land", "--until-idle")
    assert_whole(cli)
    assert sent.json["produced"] > 2000


def test_a_writer_stopped_while_it_joins_keeps_no_other_out(cli: Cli) -> None:
    ids = send(cli, play())
    hasty = cli.start("land", "--json")
    assert hasty.stderr is not None
    assert any("joining" in line for line in hasty.stderr)
    pause(1)
    assert end(hasty).code == 0
    cli("land", "--until-idle")
    assert landed(cli, ids)


def test_a_frozen_writer_drops_what_another_has_landed(own: Cli) -> None:
    def placed(port: int) -> bool:
        return any(name == "lag_messages" for name, _ in scrape(port))

    port, of_other = free_port(), free_port()
    frozen = Cli(own.home, flush_seconds=600, metrics_port=port).start("land")
    wait_for(lambda: placed(port))
    ids = send(own, play(), play(), play())
    wait_for(lambda: scrape(port)[("buffered_rows", ())] == 3)
    frozen.send_signal(signal.SIGSTOP)
    try:
        own("land", "--until-idle")
        assert landed(own, ids)
        other = Cli(own.home, metrics_port=of_other).start("land")  # keeps what the frozen one had
        wait_for(lambda: placed(of_other))
    finally:
        frozen.send_signal(signal.SIGCONT)
    wait_for(lambda: scrape(port).get(("buffered_rows", ())) == 0)
    assert end(frozen, signal.SIGTERM).code == 0
    assert end(other, signal.SIGTERM).code == 0
    assert_whole(own)


def test_a_broker_that_stands_still_keeps_nobody_from_leaving(own: Cli) -> None:
    """librdkafka waits for the answer to each commit of offsets, for longer than two minutes."""
    given: dict[TopicPartition, int] = {}

    def assigned(partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        given.update(dict.fromkeys(partitions, 0))
        return given

    consumer = Consumer(
        own.settings(), events.TOPICS, group="leaving", on_assign=assigned, on_revoke=lambda _partitions: None
    )
    wait_for(lambda: (consumer.poll(1, 0.5), dict(given))[1])
    leaving = threading.Thread(target=consumer.close, daemon=True)
    broker, notes = own.pid("broker"), own.home / "members"
    os.kill(broker, signal.SIGSTOP)
    try:
        consumer.commit_hint(given)
        leaving.start()
        leaving.join(30)
        assert not leaving.is_alive()
        assert list(notes.glob("*.json")), "the next writer leaves for it"
    finally:
        os.kill(broker, signal.SIGCONT)
    wait_for(lambda: not list(notes.glob("*.json")))


def test_a_writer_of_another_group_is_assigned_every_partition(own: Cli) -> None:
    """As a lake needs that shares its broker with another (PLAYLAKE_KAFKA_GROUP)."""
    ports = [free_port(), free_port()]
    groups = [own.with_settings(metrics_port=p, kafka_group=f"lake-{p}") for p in ports]
    writers = [one.start("land") for one in groups]

    def partitions(port: int) -> int:
        return sum(name == "lag_messages" and dict(labels)["topic"] == events.PLAYS for name, labels in scrape(port))

    wait_for(lambda: [partitions(port) for port in ports] == [4, 4])
    assert {json.loads(p.read_text())["group"] for p in (own.home / "members").glob("*.json")} == {
        f"lake-{port}" for port in ports
    }
    assert [end(writer, signal.SIGTERM).code for writer in writers] == [0, 0]


def test_a_writer_for_which_no_partition_is_left_ends(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home", flush_seconds=1, kafka_partitions=1)
    cli("up")
    ids = send(cli, play())
    first = cli.start("land")
    assert lands(first)
    cli("land", "--until-idle")  # one of the two has it all now, whichever it is
    assert landed(cli, ids)
    assert end(first, signal.SIGTERM).code == 0
    cli("down")


def test_a_store_that_hangs_does_not_cost_the_membership(own: Cli) -> None:
    """Uploads are not on the polling thread: the group's session is 6 s, the store hangs for 20.

    It hangs for the writer only. The broker has the same store under it, and what hangs there is no fault of a writer.
    """
    with store_behind_proxy(own) as (store, through):
        writer = through.start("land", "--json")
        first = send(own, play())
        wait_for(lambda: landed(own, first), every=1)
        store.faults = Faults({"stall": 1.0}, stall_s=20.0)
        ids = send(own, *(play() for _ in range(500)))
        wait_for(lambda: store.done["stall"])
        store.faults = Faults()
        pause(20)
        wait_for(lambda: landed(own, ids), every=1)
        done = end(writer, signal.SIGTERM)
    assert done.code == 0, done.err
    assert done.json["assignments"] == 1, f"it fell out of the group:\n{done.err}"
    assert_whole(own)


def test_a_store_that_goes_between_two_looks_is_said(own: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tables.dead_letters(own.settings())
    send(own, play(played_at="never"))
    own("land", "--until-idle")
    table.open()
    with Admin(own.settings()) as admin:
        topic_id = admin.topics(events.TOPICS)[events.PLAYS].topic_id
    own.kill("store")
    monkeypatch.setattr(table, "refresh", lambda: None)  # the look before went well
    with pytest.raises(WriteFailedError, match="could not be read"):
        [table.offsets_from(topic_id, partition, 0) for partition in range(4)]  # one of them has the dead letter
    own("up")
