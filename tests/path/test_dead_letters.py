"""Dead letters on the embedded stack: every kind of bad message is kept once, and can be looked at."""

from __future__ import annotations

from typing import Any

import pytest

from playlake import events
from playlake.lake.dead import DeadLetters, Place
from playlake.warehouse import duck
from tests.support.bad_messages import BAD, Sent, send_bad
from tests.support.commands import Cli
from tests.support.lakes import assert_whole, bronze_ids
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def sent(cli: Cli) -> dict[str, Sent]:
    """Each kind of bad message, landed."""
    return send_bad(cli)


def test_every_kind_of_bad_message_is_kept_once_and_its_neighbours_land(cli: Cli, sent: dict[str, Sent]) -> None:
    settings = cli.settings()
    with duck.connect(settings) as connection:
        rows = connection.execute(
            "select _kafka_partition, _kafka_offset, reason, value, key, _kafka_topic"
            f" from delta_scan('s3://{settings.s3_bucket}/bronze/dead_letters')"
        ).fetchall()
    assert sorted(r[:2] for r in rows) == sorted((s.partition, s.offset) for s in sent.values())
    by_place = {r[:2]: r[2:] for r in rows}
    for name, one in sent.items():
        reason, value, key, topic = by_place[one.partition, one.offset]
        assert (value, key, topic) == (one.value, b"k\xff", events.PLAYS), name
        assert reason, name
        assert one.reason in reason, name
    assert sorted(bronze_ids(cli)) == sorted(f"play-{n}" for n in range(2 * len(BAD)))
    assert_whole(cli)


def test_list_groups_and_filters(cli: Cli, sent: dict[str, Sent]) -> None:
    found = cli.json("dlq", "list", "--limit", "1000")
    assert (found["total"], found["replayed"]) == (len(BAD), 0)
    assert sum(g["count"] for g in found["groups"]) == len(BAD)
    assert all(":" not in g["reason"] for g in found["groups"])
    assert {(m["topic"], m["partition"], m["offset"]) for m in found["messages"]} == {
        (events.PLAYS, s.partition, s.offset) for s in sent.values()
    }
    assert all(m["reason"] and m["time"] for m in found["messages"])
    few = cli.json("dlq", "list", "--reason", "IN THE FUTURE", "--topic", events.PLAYS, "--since", "1h")
    assert [m["offset"] for m in few["messages"]] == [sent["2099"].offset]
    assert cli.json("dlq", "list", "--topic", events.LIKES)["total"] == 0
    assert len(cli.json("dlq", "list", "--limit", "2")["messages"]) == 2
    wait_for(lambda: cli.json("dlq", "list", "--since", "1s")["total"] == 0)
    assert cli("dlq", "list", "--since", "1s").out == "No dead letters match.\n"
    assert cli.json("dlq", "list", "--since", "1d")["total"] == len(BAD)
    text = cli("dlq", "list").out
    assert f"{len(BAD)} dead letters, 0 of them replayed" in text
    assert cli("dlq", "list", "--topic", "nonsense", check=2).err.startswith("playlake: No topic 'nonsense'")


def test_show_gives_the_bytes_back(cli: Cli, sent: dict[str, Sent]) -> None:
    with duck.connect(cli.settings()) as connection:
        letters = DeadLetters(cli.settings(), connection)
        for name, one in sent.items():
            found = letters.content(Place(events.PLAYS, one.partition, one.offset))
            assert (found.value, found.key) == (one.value, b"k\xff"), name
    for name in ("null value", "5 MB", "bad UTF-8"):
        raw = cli("dlq", "show", sent[name].place, "--raw").out
        assert raw.encode(errors="surrogateescape") == (sent[name].value or b"")


def test_show_is_made_for_people(cli: Cli, sent: dict[str, Sent]) -> None:
    text = cli("dlq", "show", sent["2099"].place).out
    assert "in the future of its message" in text
    assert '"played_at": "2099-01-01T00:00:00Z"' in text
    assert "6b ff" in text, "a key that is no text"
    assert "00000000  7b 22 65" in cli("dlq", "show", sent["bad UTF-8"].place).out
    assert "no value" in cli("dlq", "show", sent["null value"].place).out
    large = cli("dlq", "show", sent["5 MB"].place).out
    assert len(large) < 70_000
    assert "bytes more; --raw gives all" in large
    assert "[/red]" in cli("dlq", "show", sent["markup"].place).out
    found = cli.json("dlq", "show", sent["bad UTF-8"].place)
    assert (found["text"], bytes.fromhex(found["hex"])) == (None, sent["bad UTF-8"].value)


def test_show_helps_where_there_is_none(cli: Cli, sent: dict[str, Sent]) -> None:
    one = sent["2099"]
    done = cli("dlq", "show", f"{events.PLAYS}/{one.partition}/{one.offset + 1}", check=1)
    assert "There is no dead letter at" in done.err
    assert str(one.offset) in done.err
    assert "TOPIC/PARTITION/OFFSET" in cli("dlq", "show", "plays", check=2).err
    assert "There is no dead letter at" in cli("dlq", "replay", f"{events.SKIPS}/0/5", check=1).err


def test_without_servers_it_is_one_line(tmp_path: Any) -> None:
    alone = Cli(tmp_path / "home")
    for command in (("list",), ("show", "user_plays/0/0"), ("replay",)):
        done = alone("dlq", *command, check=1)
        assert len([line for line in done.err.splitlines() if line.startswith("playlake: ")]) == 1
        assert "playlake up" in done.err
