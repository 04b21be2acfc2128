"""A feed of simulated listening ends by a signal and says what it has produced."""

from __future__ import annotations

import signal

import pytest

from tests.support.commands import Cli, end
from tests.support.waiting import wait_for


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_feed_ends_well_by_a_signal(own: Cli, number: signal.Signals) -> None:
    def pending() -> int:
        return int(own.json("lake", "pending")["pending"])

    before = pending()
    feed = own.start("simulate", "--rate", "100", "--json")
    assert feed.stderr is not None
    assert feed.stderr.readline() == "sending\n"
    wait_for(lambda: pending() > before + 20)
    done = end(feed, number)
    assert done.code == 0, done.err
    assert pending() == before + done.json["produced"]
