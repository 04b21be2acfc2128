"""Consumer groups that the embedded broker leaves stuck: a member that leaves while it joins, or leaves last."""

from __future__ import annotations

import time
import uuid

import confluent_kafka as ck
import pytest
from confluent_kafka.admin import AdminClient

from playlake.broker import Admin, config
from playlake.settings import Settings
from tests.support.reading import Reading, send

NONE = (ck.ConsumerGroupState.DEAD, ck.ConsumerGroupState.EMPTY)


@pytest.fixture
def settings(stack_settings: Settings) -> Settings:
    """The embedded stack."""
    return stack_settings


def begun(settings: Settings, topic: str, group: str = "stuck", session_s: int = 6) -> ck.Consumer:
    """A member of a group that has no assignment yet: Tansu waits half of its session timeout before it assigns."""
    made = ck.Consumer({**config.librdkafka(settings), "group.id": group, "session.timeout.ms": session_s * 1000})
    made.subscribe([topic])
    made.poll(1.0)
    if settings.profile == "embedded":  # until Tansu waits for its leader: on a busy machine it takes longer
        asking = AdminClient(config.librdkafka(settings))
        until = time.monotonic() + 20
        while asking.describe_consumer_groups([group])[group].result().state in NONE:
            assert time.monotonic() < until, "nobody joins"
            made.poll(0.05)
    return made


def waits(reading: Reading) -> bool:
    """Whether it gets no part within 12 s."""
    while reading.consumer.joining_for() and reading.consumer.joining_for() < 12:
        reading.poll()
    return reading.consumer.joining_for() > 0


def test_a_group_that_waits_for_one_who_is_gone_is_formed_anew(settings: Settings, topic: str, read: object) -> None:
    send(settings, topic, 10)
    gone = begun(settings, topic)
    reading = read("stuck")  # type: ignore[operator]
    gone.close()  # leaves while it joins: on Tansu the other would wait for ever
    stuck = waits(reading)
    assert stuck == (settings.profile == "embedded"), "Kafka forgets who has left"
    assert reading.consumer.dissolve() == stuck, "Kafka deletes no group that has members"
    assert len(reading.to_the_end()) == 10


def test_a_group_that_nobody_is_in_is_told_from_others(settings: Settings, topic: str, read: object) -> None:
    group = f"group-{uuid.uuid4().hex}"
    member = read(group)  # type: ignore[operator]
    with Admin(settings) as admin:
        member.to_the_end()
        assert not admin.forming(group)
        assert not admin.forget_if_empty(group)
        member.consumer.close()
        assert admin.forget_if_empty(group)
        joining = begun(settings, topic, group, session_s=30)
        assert admin.forming(group) == (settings.profile == "embedded")
        joining.close()


def test_who_joins_after_all_have_left_waits_for_nobody(settings: Settings, topic: str, read: object) -> None:
    """As when several writers are ended at once: Tansu keeps the leader that left last."""
    send(settings, topic, 10)
    begun(settings, topic).close()
    assert not waits(read("stuck"))  # type: ignore[operator]
