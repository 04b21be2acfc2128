"""A broker whose log is not what it was: topics re-created under the writer, retention that was faster, holes."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import psutil
import pytest
from kafka import KafkaAdminClient
from kafka import TopicPartition as KafkaPartition

from playlake import events
from playlake.settings import Settings
from tests.support.commands import end, lands
from tests.support.containers import ContainerCli, publishing, require_docker, running
from tests.support.lakes import assert_whole, bronze_ids, lake_of_its_own
from tests.support.messages import landed, play, send
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Servers that only this file uses: their topics have playlake's names, and are deleted."""
    require_docker()
    with running(tmp_path_factory.mktemp("lost") / "home") as settings:
        yield settings


@pytest.fixture
def own(alone: Settings, tmp_path: Path) -> ContainerCli:
    """A lake and topics of the test's own."""
    client = KafkaAdminClient(bootstrap_servers=alone.kafka_bootstrap)
    if there := set(events.TOPICS) & set(client.list_topics()):
        client.delete_topics(sorted(there))
        wait_for(lambda: not set(events.TOPICS) & set(client.list_topics()))
    client.close()
    made = ContainerCli(lake_of_its_own(alone, tmp_path))
    made.env["PLAYLAKE_FLUSH_SECONDS"] = "1"
    made("land", "--until-idle")  # makes topics and tables
    return made


def admin(cli: ContainerCli) -> Any:
    return KafkaAdminClient(bootstrap_servers=cli.own.kafka_bootstrap)


def partition_of(cli: ContainerCli) -> tuple[int, int]:
    """The one partition that has plays, and its end."""
    report = cli.json("lake", "verify", check=None)
    found = [p for p in report["partitions"] if p["topic"] == events.PLAYS and p["in_log"]]
    assert len(found) == 1, found
    return found[0]["partition"], found[0]["log_end"]


def test_a_topic_re_created_under_the_writer(own: ContainerCli) -> None:
    writer = own.start("land", "--json")
    before = send(own, *(play() for _ in range(30)))
    wait_for(lambda: landed(own, before), 90)
    client = admin(own)
    client.delete_topics([events.PLAYS])
    client.close()
    after = send(own, *(play() for _ in range(10)))  # fewer: the offsets of before are past its end
    wait_for(lambda: landed(own, after), 180)
    done = end(writer, signal.SIGTERM)
    assert done.code == 0, done.err
    assert "made anew" in done.err
    report = assert_whole(own)
    former = [p for p in report["partitions"] if "former" in p["topic"]]
    assert sum(p["in_bronze"] for p in former) == 30
    assert landed(own, before), "what landed before stays"


def test_what_retention_deleted_before_it_was_landed_is_told(own: ContainerCli) -> None:
    first = send(own, *(play() for _ in range(5)))
    own("land", "--until-idle")
    send(own, *(play() for _ in range(7)))
    partition, following = partition_of(own)
    expire(own, partition, following)
    last = send(own, *(play() for _ in range(3)))
    done = own("land", "--until-idle")
    assert "deleted from Kafka before they were landed" in done.err
    assert landed(own, [*first, *last])
    found = own("lake", "verify", "--json", check=1).json
    mine = next(p for p in found["partitions"] if p["topic"] == events.PLAYS and p["partition"] == partition)
    assert (mine["lost"], mine["doubled"], mine["expired"], mine["pending"]) == (0, 0, 7, 0)
    again = own("land", "--until-idle")
    assert "deleted from Kafka" not in again.err, "told once"

    assert own.json("lake", "acknowledge", "--dry-run")["acknowledged"] == 7
    own("lake", "verify", check=1)
    assert "7 expired offsets acknowledged now" in own("lake", "acknowledge").out
    found = own.json("lake", "verify")
    assert (found["expired"], found["acknowledged"]) == (0, 7)
    send(own, *(play() for _ in range(2)))
    expire(own, partition, partition_of(own)[1])
    own("land", "--until-idle")
    found = own("lake", "verify", "--json", check=1).json
    assert (found["expired"], found["acknowledged"]) == (2, 7), "only what was known then"


def test_writers_that_come_and_go_in_good_order(own: ContainerCli) -> None:
    """Kafka gives the partitions of one that leaves to the others within a heartbeat, often in the middle of a poll:
    what was fetched of them before is not to be taken for what comes next."""
    feed = own.start("simulate", "--rate", "1000", "--json")
    stays = own.start("land", "--json")
    assert lands(stays)
    for pause in (0.0, 0.4, 0.8, 1.2):
        guest = own.start("land", "--json")
        assert lands(guest)
        time.sleep(pause)
        assert end(guest, signal.SIGTERM).code == 0
    sent = end(feed, timeout=120)
    assert sent.code == 0, sent.err
    done = end(stays, signal.SIGTERM)
    assert done.code == 0, done.err
    own("land", "--until-idle")
    assert assert_whole(own)["lost"] == 0
    assert sent.json["produced"] > 2000


def beside(own: ContainerCli, **variables: str) -> ContainerCli:
    """The same lake with other variables."""
    made = ContainerCli(own.own)
    made.env |= own.env | variables
    return made


def expire(cli: ContainerCli, partition: int, following: int) -> None:
    """Do as retention does: the log begins at ``following`` now."""
    client = admin(cli)
    client.delete_records({KafkaPartition(events.PLAYS, partition): following})
    client.close()


def expired(cli: ContainerCli, partition: int) -> int:
    found = cli("lake", "verify", "--json", check=1).json
    mine = next(p for p in found["partitions"] if p["topic"] == events.PLAYS and p["partition"] == partition)
    assert (mine["lost"], mine["doubled"]) == (0, 0)
    return int(mine["expired"])


def test_a_writer_killed_between_a_gap_and_its_record_is_still_counted(own: ContainerCli) -> None:
    send(own, play())
    own("land", "--until-idle")
    send(own, *(play() for _ in range(6)))
    partition, following = partition_of(own)
    expire(own, partition, following)
    killed = beside(own, PLAYLAKE_FAILPOINT="between-gap-and-record").start("land", "--until-idle")
    assert killed.wait(120) == -signal.SIGKILL
    assert expired(own, partition) == 6, "counted, though no writer has recorded it"
    assert "deleted from Kafka before they were landed" in own("land", "--until-idle").err
    assert expired(own, partition) == 6


def test_a_frozen_writer_lands_nothing_of_what_is_said_to_be_lost(own: ContainerCli) -> None:
    first = send(own, play())
    own("land", "--until-idle")
    assert landed(own, first)
    frozen = beside(own, PLAYLAKE_FAILPOINT="before-commit:1:stop").start("land")
    held = send(own, *(play() for _ in range(5)))
    process = psutil.Process(frozen.pid)
    wait_for(lambda: process.status() == psutil.STATUS_STOPPED, 120)
    partition, following = partition_of(own)
    expire(own, partition, following)
    after = send(own, play())
    own("land", "--until-idle")
    assert landed(own, after)
    process.send_signal(signal.SIGCONT)
    assert frozen.stderr is not None
    assert any("another writer was here" in line for line in frozen.stderr)
    assert end(frozen, signal.SIGTERM).code == 0
    assert not set(held) & set(bronze_ids(own))
    assert expired(own, partition) == 5


def test_a_broker_that_stands_still_is_no_end(own: ContainerCli) -> None:
    """`land --until-idle` ended with 0 after 15 s of silence, with the rest not landed."""
    for _ in range(20):
        send(own, *(play(track_name="x" * 3000) for _ in range(500)))
    writer = beside(own, PLAYLAKE_FAILPOINT="after-poll:1:stop").start("land", "--until-idle", "--json")
    process = psutil.Process(writer.pid)
    wait_for(lambda: process.status() == psutil.STATUS_STOPPED, 120)
    broker = publishing(int(str(own.own.kafka_bootstrap).rpartition(":")[2]))
    subprocess.run(["docker", "pause", broker], check=True, capture_output=True)
    try:
        process.send_signal(signal.SIGCONT)
        out, err = writer.communicate(timeout=300)
    finally:
        subprocess.run(["docker", "unpause", broker], check=True, capture_output=True)
    assert writer.returncode == 1, err
    assert "Kafka" in json.loads(out)["error"] or "broker" in json.loads(out)["error"]
    own("land", "--until-idle")
    assert len(bronze_ids(own)) == 10_000
    assert_whole(own)


def test_holes_that_transactions_leave_are_no_loss(own: ContainerCli) -> None:
    producer = ck.Producer({"bootstrap.servers": own.own.kafka_bootstrap, "transactional.id": "test"})
    producer.init_transactions(30)
    kept = []
    for number in range(6):
        producer.begin_transaction()
        one = play()
        producer.produce(events.PLAYS, json.dumps(one).encode(), key=b"ada")
        if number % 2 == 0:  # the very first, too
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)
            kept.append(one["event_id"])
    own("land", "--until-idle")
    assert landed(own, kept)
    report = assert_whole(own)
    assert sum(p["in_bronze"] for p in report["partitions"]) == len(kept)
    [ours] = [p for p in report["partitions"] if p["in_bronze"]]
    expire(own, ours["partition"], ours["log_end"] - 2)  # what is gone now had landed, or was never a message
    assert_whole(own)


def test_a_writer_killed_in_its_middle_loses_and_doubles_nothing(own: ContainerCli) -> None:
    sent = own.json("simulate", "--plays", "2000", "--listeners", "40", "--seed", "77")["produced"]
    for delay in (0.2, 0.6):
        with beside(own, PLAYLAKE_CATCHUP_ROWS="50").start("land") as writer:
            assert lands(writer)
            time.sleep(delay)
            writer.kill()
    own("land", "--until-idle")
    assert sum(p["in_bronze"] for p in assert_whole(own)["partitions"]) == sent
