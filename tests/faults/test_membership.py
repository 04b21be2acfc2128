"""A writer that starts leaves the group for a member that was killed, and for no other; on both kinds of broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from playlake.broker.membership import leave_for_the_dead
from playlake.settings import Settings
from tests.support.waiting import wait_for

Start = Callable[..., "subprocess.Popen[str]"]

CODE = """
import sys, time
from playlake.broker import Consumer
from playlake.settings import load_settings
consumer = Consumer(
    load_settings(_env_file=None), [sys.argv[1]], group=sys.argv[2],
    on_assign=lambda partitions: print("assigned", partitions, flush=True) or {}, on_revoke=lambda partitions: None,
)
while not sys.stdin.closed:
    consumer.poll(1, 0.1)
"""


@pytest.fixture(params=["stack_settings", "container_settings"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """A running broker of each kind, and a home of its own."""
    running: Settings = request.getfixturevalue(request.param)
    return running.model_copy(update={"home": tmp_path})


@pytest.fixture
def member(settings: Settings, topic: str) -> Iterator[Start]:
    """Starts a process that is a member of the group, and waits until it has its part, if it is to."""
    running: list[subprocess.Popen[str]] = []

    def start(*, wait: bool = True) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, topic, topic],
            env={**os.environ, **settings.environment()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout is not None
        if wait:
            assert any(line.startswith("assigned ") for line in process.stdout)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdin.close()  # type: ignore[union-attr]
        process.stdout.close()  # type: ignore[union-attr]


def notes(settings: Settings) -> list[Path]:
    return list((settings.home_path / "members").glob("*"))


def test_the_group_is_left_for_one_that_was_killed_and_for_no_other(
    settings: Settings, topic: str, member: Start
) -> None:
    assert leave_for_the_dead(settings, topic) == 0
    process = member()
    assert leave_for_the_dead(settings, topic) == 0
    process.send_signal(signal.SIGSTOP)
    assert leave_for_the_dead(settings, topic) == 0, "frozen is not dead"
    process.kill()
    process.wait()
    assert leave_for_the_dead(settings, "another group") == 0
    assert leave_for_the_dead(settings, topic) == 1
    assert leave_for_the_dead(settings, topic) == 0
    assert not notes(settings)


def test_one_that_was_killed_while_it_joined_keeps_no_other_out(settings: Settings, topic: str, member: Start) -> None:
    """Tansu 0.6 would wait for ever for one that leads the group and leaves during a rebalance."""
    joining = member(wait=False)
    wait_for(lambda: notes(settings), every=0.01)
    joining.kill()
    joining.wait()
    leave_for_the_dead(settings, topic)
    assert not notes(settings)
    member()


def test_what_one_that_was_killed_had_half_written_is_taken_away(settings: Settings, topic: str) -> None:
    folder = settings.home_path / "members"
    folder.mkdir()
    for name, text in {
        ".torn": '{"group": "gr',
        "torn": "",
        "list": "[]",
        "other": f'{{"group": "{topic}"}}',
        "odd": f'{{"group": "{topic}", "member": {{}}}}',
    }.items():
        (folder / f"{name}.json").write_text(text)
    assert leave_for_the_dead(settings, topic) == 0
    assert not notes(settings)


def test_a_home_that_can_not_be_written_keeps_nobody_out(settings: Settings, topic: str, member: Start) -> None:
    (settings.home_path / "members").write_text("no folder")
    member()
    assert leave_for_the_dead(settings, topic) == 0
