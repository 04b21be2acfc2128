"""Dead letters that have become events are sent again, each once."""

from __future__ import annotations

import time

import pytest
from kafka import KafkaProducer

from playlake import events
from playlake.broker import Producer
from playlake.lake.drift import Drift
from playlake.warehouse import duck
from tests.support.bad_messages import BAD, body, send_bad
from tests.support.commands import Cli
from tests.support.lakes import assert_whole, bronze_ids

DAY_MS = 86_400_000


def refused_by_a_wrong_clock(cli: Cli, ids: list[str]) -> None:
    """Plays of yesterday, sent by a producer whose clock is three days slow: refused then, accepted when sent today."""
    producer = KafkaProducer(bootstrap_servers=cli.settings().kafka_bootstrap)
    now = int(time.time() * 1000)
    yesterday = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now / 1000 - 86_400))
    for event_id in ids:
        value = body(0, event_id=event_id, played_at=yesterday)
        producer.send(events.PLAYS, key=event_id.encode(), value=value, timestamp_ms=now - 3 * DAY_MS)
    producer.flush()
    producer.close()
    assert cli.json("land", "--until-idle")["dead_letters"] == len(ids)


def test_replay_sends_what_has_become_an_event_once(own: Cli) -> None:
    send_bad(own)
    ids = [f"slow-{n}" for n in range(30)]
    refused_by_a_wrong_clock(own, ids)
    before = set(bronze_ids(own))
    assert not before & set(ids)
    would = own.json("dlq", "replay", "--dry-run")
    assert (would["looked_at"], would["sent"], would["refused"]) == (len(BAD) + 30, 30, len(BAD))
    assert own.json("land", "--until-idle")["flushes"] == 0, "a dry run sends nothing"
    assert own.json("dlq", "list")["replayed"] == 0

    done = own.json("dlq", "replay", "--reason", "in the future")
    assert (done["looked_at"], done["sent"], done["by_topic"]) == (31, 30, {events.PLAYS: 30})
    assert done["reasons"] == [
        {"topic": events.PLAYS, "reason": "played_at lies in the future of its message", "count": 1}
    ]
    landed = own.json("land", "--until-idle")
    assert (landed["rows"][events.PLAYS], landed["dead_letters"]) == (30, 0)
    assert sorted(i for i in bronze_ids(own) if i.startswith("slow-")) == sorted(ids)
    found = own.json("dlq", "list", "--limit", "100")
    assert (found["total"], found["replayed"]) == (len(BAD) + 30, 30), "they stay, marked"
    with duck.connect(own.settings()) as connection:
        uri = f"s3://{own.settings().s3_bucket}/bronze/plays"
        rows = connection.execute(
            f"select event_id, _kafka_partition from delta_scan('{uri}') where event_id like 'slow-%'"
        ).fetchall()
    places = {m["partition"] for m in found["messages"] if m["replayed_at"]}
    assert {p for _, p in rows} == places, "the same key: the same partition"

    twice = own.json("dlq", "replay")
    assert (twice["looked_at"], twice["sent"]) == (len(BAD), 0)
    assert own.json("land", "--until-idle")["rows"][events.PLAYS] == 0
    place = next(m for m in found["messages"] if m["replayed_at"])
    named = f"{place['topic']}/{place['partition']}/{place['offset']}"
    assert own.json("dlq", "replay", named)["sent"] == 0
    assert own.json("dlq", "replay", named, "--again")["sent"] == 1
    assert own.json("land", "--until-idle")["rows"][events.PLAYS] == 1
    assert_whole(own)
    assert "bronze/dead_letters" in own.json("lake", "compact")["compacted"], "what was replayed has no hours"
    own("lake", "prune")


def test_what_an_earlier_release_refused_for_a_field_of_no_event_comes_back(
    own: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The type of a field that is not the event's own was decided by its first value; others were dead letters."""
    real = Drift.text_of

    def as_before(drift: Drift, event: events.Event | events.CurrentlyPlaying) -> bytes:
        if event.extra and "0.73" in event.extra:
            raise events.InvalidEventError("Expected `int | null`, got `float` - at `$.energy`")
        return real(drift, event)

    monkeypatch.setattr(Drift, "text_of", as_before)
    with Producer(own.settings()) as producer:
        producer.send(events.SKIPS, "k", body(0, event_id="one", event_type="skip", energy=1))
        producer.send(events.SKIPS, "k", body(0, event_id="two", event_type="skip", energy=0.73))
    assert own.json("land", "--until-idle")["dead_letters"] == 1
    monkeypatch.undo()
    done = own.json("dlq", "replay")
    assert (done["sent"], done["refused"]) == (1, 0)
    landed = own.json("land", "--until-idle")
    assert (landed["rows"][events.SKIPS], landed["dead_letters"]) == (1, 0)
    with duck.connect(own.settings()) as connection:
        uri = f"s3://{own.settings().s3_bucket}/bronze/skips"
        rows = connection.execute(f"select event_id, energy from delta_scan('{uri}') order by 1").fetchall()
    assert rows == [("one", 1.0), ("two", 0.73)]
