"""A producer that died in a transaction: its messages, and all that came after, are not called absent."""

from __future__ import annotations

import json
import uuid

import confluent_kafka as ck

from playlake import events
from tests.support.commands import Cli
from tests.support.messages import play
from tests.support.waiting import wait_for


def test_all_who_say_what_is_there_say_what_is_withheld(own: Cli) -> None:
    """20 acknowledged plays were "nothing", 0, healthy, and landed with code 0."""
    own("land", "--until-idle")
    bootstrap = {"bootstrap.servers": own.settings().kafka_bootstrap}
    open_one = ck.Producer({**bootstrap, "transactional.id": uuid.uuid4().hex})
    open_one.init_transactions(60)
    open_one.begin_transaction()
    other = ck.Producer(bootstrap)
    for producer, count in ((other, 4), (open_one, 10), (other, 20)):
        for _ in range(count):
            producer.produce(events.PLAYS, json.dumps(play()).encode(), partition=1)
        assert producer.flush(60) == 0
    held = f"{events.PLAYS}/1: an open transaction withholds 30 messages since 20"

    landed = own("land", "--until-idle", check=1)
    assert held in landed.err
    found = own.json("lake", "pending")
    assert (found["pending"], found["oldest_s"]) == (0, None)
    [one] = found["withheld"]
    assert (one["topic"], one["partition"], one["messages"]) == (events.PLAYS, 1, 30)
    assert wait_for(lambda: own.json("status")["lag"])["withheld"] == [one]
    assert "Withheld by an open transaction: 30 messages of user_plays/1 since 20" in own("status").out
    report = own("lake", "verify", check=1)
    assert held in report.out
    late = own.with_settings(max_lag_s=0.001)("lake", "pending", "--check", check=1)
    assert "The lake is stale: user_plays/1: an open transaction" in late.err

    open_one.commit_transaction(60)
    found = own.json("lake", "pending")
    assert found["withheld"] == []
    assert found["pending"] >= 30, "the mark of the commit takes an offset, too"


def test_who_starts_the_embedded_broker_is_told_what_it_does_with_transactions(cli: Cli) -> None:
    assert "aborted transactions" in " ".join(cli("up").out.split())
    [check] = [c for c in cli.json("doctor")["checks"] if c["name"] == "transactions"]
    assert "aborted transactions" in check["text"]
