"""What every broker must do for playlake."""

from __future__ import annotations

import time
import uuid

import pytest

from playlake import broker, events
from playlake.broker import Admin, Consumer, Producer, TopicPartition, offsets
from playlake.errors import PlaylakeError, UnavailableError
from playlake.settings import Settings
from tests.support.reading import messages, send
from tests.support.waiting import repeat, wait_for


def test_topics_are_made_once_and_have_an_id(settings: Settings, topic: str) -> None:
    with Admin(settings) as admin:
        first = admin.ensure((topic,))[topic]
        again = admin.ensure((topic,))[topic]
        assert first == again
        assert first.partitions == settings.kafka_partitions
        assert uuid.UUID(first.topic_id).int != 0
        assert "no-such-topic" not in admin.topics(("no-such-topic", topic))


@pytest.mark.parametrize("without", [None, uuid.UUID(int=0)])
def test_a_broker_that_gives_topics_no_ids_is_refused(
    settings: Settings, topic: str, monkeypatch: pytest.MonkeyPatch, without: uuid.UUID | None
) -> None:
    """One made anew would have the place in the lake of the one before."""
    with Admin(settings) as admin:
        admin.ensure((topic,))
        found = admin._client.describe_topics([topic])
        monkeypatch.setattr(admin._client, "describe_topics", lambda _: [{**t, "topic_id": without} for t in found])
        with pytest.raises(PlaylakeError, match=f"no ids \\({topic}\\)"):
            admin.topics((topic,))


def test_the_playlake_topics_exist_after_ensure(settings: Settings) -> None:
    with Admin(settings) as admin:
        assert set(admin.ensure(events.TOPICS)) == set(events.TOPICS)


def test_every_message_has_an_offset_of_its_own(settings: Settings, topic: str) -> None:
    send(settings, topic, 500)
    offsets = broker.read_offsets(settings, {topic: 4})
    assert sum(map(len, offsets.values())) == 500
    for found in offsets.values():
        assert list(found) == list(range(len(found)))


def test_a_log_of_which_nothing_was_removed_starts_at_0(settings: Settings, topic: str) -> None:
    send(settings, topic, 20)
    partitions = [TopicPartition(topic, p) for p in range(4)]
    assert broker.log_starts(settings, partitions) == dict.fromkeys(partitions, 0)
    assert broker.log_starts(settings, ()) == {}


def test_an_empty_topic_has_no_offsets(settings: Settings, topic: str) -> None:
    found = broker.read_offsets(settings, {topic: 4})
    assert {tp: list(o) for tp, o in found.items()} == {TopicPartition(topic, p): [] for p in range(4)}
    assert broker.read_offsets(settings, {}) == {}


def test_a_key_keeps_its_partition_and_order(settings: Settings, topic: str, read: object) -> None:
    send(settings, topic, 300)
    records = read().to_the_end()  # type: ignore[operator]
    assert sorted(int(r.value.split(b"-")[1]) for r in records) == list(range(300))
    for key in {r.key for r in records}:
        mine = [r for r in records if r.key == key]
        assert len({r.partition for r in mine}) == 1
        numbers = [int(r.value.split(b"-")[1]) for r in mine]
        assert numbers == sorted(numbers)
        assert abs(mine[0].timestamp_ms / 1000 - time.time()) < 600


def test_reading_starts_where_the_caller_says_not_at_kafkas_committed_offset(
    settings: Settings, topic: str, read: object
) -> None:
    send(settings, topic, 200)
    group = f"group-{uuid.uuid4().hex}"
    first = read(group)  # type: ignore[operator]
    everything = first.to_the_end()
    first.consumer.commit_hint(dict(first.ends))
    first.consumer.close()
    ends = {p.partition: end for p, end in first.ends.items()}
    starts = {p: max(0, end - 3) for p, end in ends.items()}
    again = read(group, starts).to_the_end()  # type: ignore[operator]
    expected = {(r.partition, r.offset) for r in everything if r.offset >= starts[r.partition]}
    assert {(r.partition, r.offset) for r in again} == expected
    assert expected


def test_the_end_is_told_again_after_new_messages(settings: Settings, topic: str, read: object) -> None:
    send(settings, topic, 40)
    reading = read()  # type: ignore[operator]
    reading.to_the_end()
    before = dict(reading.ends)
    reading.ends.clear()
    send(settings, topic, 40, start=40)
    reading.until(lambda: len(reading.records) >= 80)
    assert len({(r.partition, r.offset) for r in reading.records}) == 80
    assert all(end >= before[p] for p, end in reading.ends.items())


def test_read_on_goes_back(settings: Settings, topic: str, read: object) -> None:
    send(settings, topic, 50)
    reading = read()  # type: ignore[operator]
    reading.to_the_end()
    reading.consumer.read_on(dict.fromkeys(reading.assigned, 0))
    seen = len(reading.records)
    reading.until(lambda: len(reading.records) >= seen * 2)
    assert {(r.partition, r.offset) for r in reading.records[seen:]} == {
        (r.partition, r.offset) for r in reading.records[:seen]
    }


def test_a_partition_that_is_not_named_is_ours_and_not_read(settings: Settings, topic: str, read: object) -> None:
    send(settings, topic, 50)
    reading = read()  # type: ignore[operator]
    reading.to_the_end()
    one, *_ = sorted({TopicPartition(r.topic, r.partition) for r in reading.records})
    before = list(reading.records)
    reading.records.clear()
    reading.ends.clear()
    reading.consumer.read_on({one: 1})
    reading.to_the_end(partitions=1)
    assert reading.records == [r for r in before if r.partition == one.partition and r.offset >= 1]
    assert len(reading.assigned) == 4


def test_held_a_consumer_reads_nothing_and_goes_on_where_it_was(settings: Settings, topic: str, read: object) -> None:
    send(settings, topic, 40)
    reading = read()  # type: ignore[operator]
    reading.to_the_end()
    reading.consumer.hold()
    reading.consumer.hold()
    send(settings, topic, 40, start=40)
    for _ in range(10):
        assert messages(reading.consumer.poll(1000, 0.1)) == []
    reading.consumer.go_on()
    reading.ends.clear()
    reading.until(lambda: len(reading.records) >= 80)
    assert sorted(int(r.value.split(b"-")[1]) for r in reading.records) == list(range(80))


def test_held_a_consumer_that_is_told_where_to_read_on_reads_on(settings: Settings, topic: str, read: object) -> None:
    """librdkafka leaves a partition paused through any number of assignments, and the writer came to a stand."""
    send(settings, topic, 40)
    reading = read()  # type: ignore[operator]
    reading.to_the_end()
    everything = dict.fromkeys(reading.assigned, 0)
    for first in (everything, dict(list(everything.items())[:2])):  # all, and without some that are to be looked up
        reading.consumer.hold()
        reading.consumer.read_on(first)
        reading.consumer.read_on(everything)
        reading.ends.clear()
        reading.records.clear()
        reading.to_the_end()
        assert sorted(int(r.value.split(b"-")[1]) for r in reading.records) == list(range(40))


def test_an_offset_that_the_log_has_not_got_is_told(settings: Settings, topic: str, read: object) -> None:
    """Tansu 0.6 says nothing: there the identity of the topic is what tells that it is another (see the writer)."""
    send(settings, topic, 40)
    reading = read(starts=dict.fromkeys(range(4), 1_000_000))  # type: ignore[operator]
    nowhere: set[TopicPartition] = set()

    def look() -> None:
        polled = reading.consumer.poll(1000, 0.2)
        assert messages(polled) == []  # and nothing is read from elsewhere in silence
        nowhere.update(polled.nowhere)

    repeat(look, until=lambda: len(reading.assigned) == 4)
    if settings.profile == "embedded":
        for _ in range(10):
            look()
    else:
        repeat(look, until=lambda: nowhere == {TopicPartition(topic, p) for p in range(4)})
    assert [reading.consumer.beginning(TopicPartition(topic, p)) for p in range(4)] == [0] * 4


def test_a_log_that_grows_is_read_to_where_it_ended_at_first(
    settings: Settings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verifier that asked the embedded broker patiently never came to the end of a log under a feed."""
    monkeypatch.setattr(offsets, "_SOON_S", 0.1)
    send(settings, topic, 400)
    asked = 0
    with Producer(settings) as producer:

        def progress(_count: int) -> None:
            nonlocal asked
            asked += 1
            assert asked < 200, "it does not come to an end"
            for n in range(17):  # whenever something was read, there is more
                producer.send(topic, f"key-{n}", b"more")
            producer.flush()

        found = broker.read_offsets(settings, {topic: 4}, on_progress=progress)
    assert sum(map(len, found.values())) >= 400
    assert all(list(at) == list(range(len(at))) for at in found.values())


def test_what_waits_is_counted_from_any_position(settings: Settings, topic: str) -> None:
    every = [TopicPartition(topic, p) for p in range(4)]
    assert broker.waiting(settings, dict.fromkeys(every, 0)) == {}
    before = time.time()
    send(settings, topic, 120)
    ends = {tp: len(found) for tp, found in broker.read_offsets(settings, {topic: 4}).items()}
    waits = broker.waiting(settings, dict.fromkeys(every, 0))
    assert {tp: w.messages for tp, w in waits.items()} == {tp: n for tp, n in ends.items() if n}
    assert all(before - 1 <= w.oldest_ms / 1000 <= time.time() + 1 for w in waits.values())
    one, *rest = [tp for tp, n in ends.items() if n]
    found = broker.waiting(settings, {one: ends[one] - 1, **{tp: ends[tp] for tp in rest}})
    assert {tp: w.messages for tp, w in found.items()} == {one: 1}


def test_a_null_value_arrives_as_none(settings: Settings, topic: str, read: object) -> None:
    with Producer(settings) as producer:
        producer.send(topic, "k", None)
    assert [r.value for r in read().to_the_end()] == [None]  # type: ignore[operator]


def test_a_message_of_five_megabytes_passes(settings: Settings, topic: str, read: object) -> None:
    body = b"x" * (5 * 1024 * 1024)
    with Producer(settings) as producer:
        producer.send(topic, "k", body)
    assert [r.value for r in read().to_the_end()] == [body]  # type: ignore[operator]


def test_an_interrupted_producer_ends_by_what_interrupted_it(settings: Settings, topic: str) -> None:
    """It ended by its own error, that it had not been given the time to send what was queued."""

    def interrupted() -> None:
        with Producer(settings) as producer:
            for n in range(1000):
                producer.send(topic, f"key-{n}", b"value" * 100)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()


def test_a_message_too_large_is_said(settings: Settings, topic: str, read: object) -> None:
    def send_both() -> None:
        with Producer(settings) as producer:
            producer.send(topic, "k", b"neighbour")
            producer.send(topic, "k", b"x" * (9 * 1024 * 1024))

    with pytest.raises(UnavailableError, match="too large"):
        send_both()
    assert [r.value for r in read().to_the_end()] == [b"neighbour"]  # type: ignore[operator]


def test_two_members_share_the_partitions(settings: Settings, topic: str, read: object) -> None:
    group = f"group-{uuid.uuid4().hex}"
    one, two = read(group), read(group)  # type: ignore[operator]

    def shared() -> bool:
        for reading in (one, two):
            reading.consumer.poll(10, 0.1)
        return len(one.assigned) == len(two.assigned) == 2

    wait_for(shared, every=0)
    assert len({*one.assigned, *two.assigned}) == 4


def test_held_a_member_reads_what_it_is_given_after_another_has_come(
    settings: Settings, topic: str, read: object
) -> None:
    """librdkafka itself lets go of the pause of what is taken away; what is read on with then is no longer ours."""
    send(settings, topic, 40)
    group = f"group-{uuid.uuid4().hex}"
    one = read(group)  # type: ignore[operator]
    one.to_the_end()
    one.consumer.hold()
    two = read(group)  # type: ignore[operator]
    found: set[bytes] = set()
    send(settings, topic, 40, start=40)

    def all_read() -> bool:  # each starts again at what it is given
        for reading in (one, two):
            reading.records.clear()
            reading.poll()
            found.update(message.value for message in reading.records if message.value)
        return len(found) >= 80

    wait_for(all_read, every=0)


def test_one_that_leaves_while_it_joins_keeps_nobody_out(settings: Settings, topic: str, read: object) -> None:
    """Tansu 0.6 waits for ever for a leader that left before the group had formed."""
    send(settings, topic, 10)
    hasty = read("hasty")  # type: ignore[operator]
    hasty.consumer.poll(1, 0.5)
    hasty.consumer.close()
    assert len(read("hasty").to_the_end()) == 10  # type: ignore[operator]


def test_a_broker_that_is_down_is_said_in_one_line() -> None:
    from playlake.stack import ports

    free = ports.choose(1)[0]
    down = Settings(_env_file=None, kafka_bootstrap=f"127.0.0.1:{free}", kafka_timeout_s=1)
    for use in (Admin, Producer):
        with pytest.raises(UnavailableError, match=f"127.0.0.1:{free} does not answer"):
            use(down)
    with pytest.raises(UnavailableError, match="does not answer"):
        broker.waiting(down, {TopicPartition("t", 0): 0})
    with pytest.raises(UnavailableError, match="does not answer"):
        Consumer(down, ["t"], group="g", on_assign=lambda _: {}, on_revoke=lambda _: None)
