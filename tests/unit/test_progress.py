"""What a person is told of a command's progress where there is no terminal."""

from __future__ import annotations

import pytest

from playlake.cli.common import progress


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_count_that_goes_up_is_a_line_at_its_begin_and_at_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as say:
        for rows in (1_000, 2_000, 54_429):
            say(f"{rows:,} rows read")
        say("landing")
        say("3 rows landed")
    assert said(capsys) == ["1,000 rows read", "54,429 rows read", "landing", "3 rows landed"]


def test_the_last_count_is_told_at_the_end_of_a_command_that_fails_too(capsys: pytest.CaptureFixture[str]) -> None:
    def failing() -> None:
        with progress() as say:
            say("1 row read")
            say("2 row read")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        failing()
    assert said(capsys) == ["1 row read", "2 row read"]
