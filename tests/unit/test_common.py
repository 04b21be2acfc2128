"""What commands print: text of any origin is shown as it is."""

from __future__ import annotations

import pytest

from playlake.cli import common

NAMES = ["[red]red[/red]", "[/b]", "[backup] 2024", "a [link=http://x]b", ":smile:", "\\[x]", "[[x]]"]


@pytest.mark.parametrize("name", NAMES)
def test_brackets_are_no_markup(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    common.show(False, {}, name)
    common.show(False, {}, common.table("file", "rows", rows=[(name, 1_000)]))
    common.warn(name)
    with common.progress() as say:
        say(f"importing {name}")
    told = capsys.readouterr()
    assert told.out.count(name) == 2
    assert told.err.count(name) == 2


def test_what_would_steer_a_terminal_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    common.show(False, {}, common.table("file", rows=[("a\x1b[2Jb\nc\udcff",)]))
    assert "a\ufffd[2Jb\ufffdc\ufffd" in capsys.readouterr().out
