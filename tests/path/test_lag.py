"""`playlake status` says what waits to land, and stays quick when nobody can tell."""

from __future__ import annotations

import time

from playlake import events
from playlake.broker import Producer
from playlake.lake.store import Store
from tests.support.commands import Cli
from tests.support.waiting import wait_for


def test_status_shows_what_waits_to_land(cli: Cli) -> None:
    cli("land", "--until-idle")  # what other tests have sent
    assert wait_for(lambda: cli.json("status")["lag"]) == {
        "pending": 0,
        "by_topic": dict.fromkeys(events.TOPICS, 0),
        "oldest_s": None,
        "withheld": [],
    }
    began = time.time()
    with Producer(cli.settings()) as producer:
        for number in range(30):
            producer.send(events.PLAYS, f"k{number}", b"{}")
        producer.send(events.LIKES, "k", b"{}")
    lag = wait_for(lambda: cli.json("status")["lag"])
    assert (lag["pending"], lag["by_topic"][events.PLAYS], lag["by_topic"][events.LIKES]) == (31, 30, 1)
    assert 0 < lag["oldest_s"] <= time.time() - began + 1
    assert wait_for(lambda: "31 messages (user_plays 30, user_likes 1), the oldest for" in cli("status").out)
    cli("land", "--until-idle")
    assert wait_for(lambda: "Waiting to land: nothing." in cli("status").out)


def test_a_damaged_log_of_the_lake_is_named(cli: Cli) -> None:
    store = Store(cli.settings())
    key = max(key for key in store.keys("bronze/plays/_delta_log/") if key.endswith(".json"))
    whole = store.read(key)
    store.write(key, b"{")
    try:
        found = wait_for(lambda: cli.json("status")["lag_problem"])
        assert "bronze/plays" in found
        assert found in " ".join(cli("status").out.split())
    finally:
        store.write(key, whole)


def test_looking_makes_no_tables(cli: Cli) -> None:
    with Producer(cli.settings()) as producer:
        producer.send(events.PLAYS, "k", b"{}")
    elsewhere = cli.with_settings(s3_bucket="nothing-is-here")
    lag = wait_for(lambda: elsewhere.json("status")["lag"])
    assert lag["pending"] > 0, "of this bucket's lake nothing has landed"
    assert elsewhere.json("lake", "pending")["pending"] == lag["pending"]
    from playlake.lake import tables

    assert not tables.bronze(elsewhere.settings(), events.PLAYS).is_there()
