"""`playlake dlq replay` killed or interrupted between sending dead letters and noting that they were sent."""

from __future__ import annotations

import json
import signal
import time

from kafka import KafkaProducer

from playlake import events
from tests.support.commands import Cli, end
from tests.support.lakes import bronze_ids
from tests.support.messages import play

DAY_S = 86_400


def refused_by_a_wrong_clock(cli: Cli, ids: list[str]) -> None:
    """Plays of yesterday, sent by a producer whose clock is three days slow: refused then, accepted when sent today."""
    producer = KafkaProducer(bootstrap_servers=cli.settings().kafka_bootstrap)
    now = int(time.time())
    yesterday = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - DAY_S))
    for event_id in ids:
        value = json.dumps(play(event_id=event_id, played_at=yesterday)).encode()
        producer.send(events.PLAYS, key=event_id.encode(), value=value, timestamp_ms=(now - 3 * DAY_S) * 1000)
    producer.flush()
    producer.close()
    assert cli.json("land", "--until-idle")["dead_letters"] == len(ids)


def test_killed_between_sending_and_noting_sends_twice_and_loses_nothing(cli: Cli) -> None:
    ids = [f"killed-{n}" for n in range(5)]
    refused_by_a_wrong_clock(cli, ids)
    killed = Cli(cli.home, failpoint="before-replay-is-noted")
    killed.run("dlq", "replay", "--topic", events.PLAYS, check=-9)
    assert cli.json("dlq", "replay", "--topic", events.PLAYS)["sent"] == 5
    cli.json("land", "--until-idle")
    assert sorted(i for i in bronze_ids(cli) if i.startswith("killed-")) == sorted(2 * ids)
    assert cli.json("dlq", "replay", "--topic", events.PLAYS)["sent"] == 0


def test_interrupted_notes_what_it_sent(cli: Cli) -> None:
    ids = [f"stopped-{n}" for n in range(12_000)]
    refused_by_a_wrong_clock(cli, ids)
    process = cli.start("dlq", "replay", "--topic", events.PLAYS, "--json")
    assert process.stderr
    while "looked at" not in (line := process.stderr.readline()):
        assert line, "it has ended before it said how far it is"
    done = end(process, signal.SIGTERM, timeout=60)
    assert done.code == 130, done.out
    assert "run it again to go on" in done.json["error"]
    noted = cli.json("dlq", "list", "--limit", "0")["replayed"]
    rest = cli.json("dlq", "replay", "--topic", events.PLAYS)["sent"]
    landed = cli.json("land", "--until-idle")
    assert 0 < rest < 12_000
    assert noted >= 5_000
    assert landed["rows"][events.PLAYS] == 12_000, "nothing twice, nothing lost"
