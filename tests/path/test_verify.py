"""The verifier beside a writer that is at work: what is on its way is pending, and never called lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from playlake import failpoints
from playlake.broker import Producer
from playlake.errors import UsageError
from playlake.events import PLAYS, encode
from playlake.lake.verify import Report, verify
from playlake.sources.simulator import Simulation, Simulator
from playlake.warehouse import duck
from tests.support.commands import Cli


def produce(cli: Cli, seed: int) -> None:
    """Plays, and between them messages that are none."""
    simulated = Simulator(Simulation(plays=60, listeners=4, seed=seed))
    with Producer(cli.settings()) as producer:
        for number, (topic, event) in enumerate(simulated.events()):
            producer.send(topic, event.user_id, encode(event))
            if number % 4 == 0:
                producer.send(PLAYS, event.user_id, b"no event")


def look(cli: Cli, say: Callable[[str], None] | None = None) -> Report:
    """What the verifier finds in this process; nothing may be lost or doubled."""
    with duck.connect(cli.settings()) as connection:
        report = verify(cli.settings(), connection, on_progress=say)
    assert (report.lost, report.doubled) == (0, 0)
    return report


def buried(report: Report) -> int:
    return sum(p.in_dead_letters for p in report.partitions)


def pending(report: Report) -> int:
    return sum(p.pending for p in report.partitions)


@pytest.mark.parametrize(
    "moment",
    ["reading the log", "reading the lake's bronze/plays", "reading the lake's bronze/dead_letters", "comparing"],
)
def test_what_lands_while_the_verifier_looks_is_not_lost(cli: Cli, moment: str) -> None:
    produce(cli, seed=len(moment))
    landed: list[object] = []

    def land(said: str) -> None:
        if said.startswith(moment) and not landed:
            landed.append(cli("land", "--until-idle"))

    look(cli, land)
    assert landed
    assert pending(look(cli)) == 0


def test_what_waits_for_a_writer_that_died_after_its_dead_letters_is_not_lost(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    produce(cli, seed=50)
    before = look(cli)

    def hit(at: str) -> None:
        if at == "between-dead-letters-and-bronze":
            raise UsageError("dies here")

    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "hit", hit)
        cli("land", "--until-idle", check=2)
    after = look(cli)
    assert buried(after) > buried(before)
    assert pending(after) > 0
    cli("land", "--until-idle")
    assert pending(look(cli)) == 0
