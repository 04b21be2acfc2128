"""The writer's metrics while store or broker is away, and when it is back."""

from __future__ import annotations

import signal

from playlake import events
from tests.support.commands import Cli, end
from tests.support.lakes import assert_whole, store_behind_proxy
from tests.support.messages import play, send
from tests.support.scraping import Samples, free_port, scrape
from tests.support.waiting import pause, wait_for

PLACED = ("lag_messages", (("partition", "0"), ("topic", events.PLAYS)))


def of_plays(samples: Samples, name: str) -> float:
    return sum(v for (n, labels), v in samples.items() if n == name and dict(labels).get("topic") == events.PLAYS)


def test_a_store_that_is_away_shows(own: Cli) -> None:
    port = free_port()
    with store_behind_proxy(own, metrics_port=port, flush_seconds=5) as (store, other):
        process = other.start("land")
        wait_for(lambda: PLACED in scrape(port))
        send(own, play())
        wait_for(lambda: scrape(port)[("buffered_rows", ())] == 1)
        store.cut(refuse=True)
        failed = wait_for(lambda: (s := scrape(port)) and of_plays(s, "failures_total") and s, seconds=180)
        assert of_plays(failed, "lag_messages") == 1
        assert failed[("oldest_unflushed_seconds", ())] > 4, "the row was dropped, to be read again: it is no younger"
        assert of_plays(failed, "written_rows_total") == 0
        store.heal()
        landed = wait_for(lambda: (s := scrape(port)) and of_plays(s, "written_rows_total") == 1 and s, seconds=180)
        assert of_plays(landed, "dead_letters_total") == 0
        assert wait_for(lambda: (s := scrape(port)) and of_plays(s, "lag_messages") == 0 and s)
        assert scrape(port)[("oldest_unflushed_seconds", ())] == 0
        assert end(process, signal.SIGTERM).code == 0
    assert_whole(own)


def test_a_broker_that_is_away_shows_and_the_end_says_what_it_leaves(own: Cli) -> None:
    """After the session timeout the assignment is lost and the buffer dropped; once that looked like nothing to do."""
    port = free_port()
    process = own.with_settings(flush_seconds=60, metrics_port=port, kafka_session_s=10).start("land")
    wait_for(lambda: PLACED in scrape(port))
    send(own, *(play() for _ in range(5)))
    wait_for(lambda: scrape(port)[("buffered_rows", ())] == 5)
    own.kill("broker")
    lost = wait_for(lambda: (s := scrape(port)) and s[("buffered_rows", ())] == 0 and s)
    pause(2)  # the next look, too
    still = scrape(port)
    assert lost.keys() <= still.keys()
    assert of_plays(still, "lag_messages") == 5
    assert still[("oldest_unflushed_seconds", ())] > 4, "it is no younger"
    assert of_plays(still, "failures_total") >= 1
    ended = end(process, signal.SIGTERM)
    assert ended.code == 1
    *before, last = ended.err.splitlines()
    assert "still in Kafka" in last
    assert "brokers are down" not in ended.err
    assert not any("run this again" in line for line in before), "it tries again by itself"
    assert not any(name.endswith("_created") for name, _ in still)
    own("up")
    own("land", "--until-idle")
    assert assert_whole(own)["pending"] == 0
