"""The command line itself: what it says to wrong use, and that errors are JSON where JSON was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from playlake.lake import verify
from playlake.lake.verify import rows
from playlake.lake.verify.files import Files
from tests.support.commands import Cli

WRONG = [
    ("land", "--for", "soon"),
    ("land", "--for", "-5s"),
    ("land", "--for", "99999999999h"),
    ("dlq", "list", "--since", "20000000h"),
    ("lake", "compact", "--older-than", "99999999999h"),
    ("lake", "prune", "--older-than", "169h"),
    ("simulate", "--for", "5s"),
    ("simulate", "--plays", "0"),
    ("simulate", "--end", "yesterday"),
    ("nonsense",),
    ("land", "--nonsense"),
    ("import",),
    ("import", "no-such-file.json"),
    ("demo", "--history", "no-such-folder"),
    ("demo", "--user", " "),
]


@pytest.mark.parametrize("args", WRONG, ids=" ".join)
def test_wrong_use_is_one_message_and_exit_code_2(tmp_path: Path, args: tuple[str, ...]) -> None:
    done = Cli(tmp_path / "home")(*args, check=2)
    assert done.err.startswith("playlake: ")
    assert len(done.err.splitlines()) <= 2
    assert done.out == ""


def test_errors_are_json_too(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home")
    assert "playlake up" in cli("lake", "verify", "--json", check=1).json["error"]
    assert "--for" in cli("land", "--for", "soon", "--json", check=2).json["error"]


@pytest.mark.parametrize("args", [(), ("lake",), ("serve",)], ids=["playlake", "lake", "serve"])
def test_a_group_without_a_command_shows_its_help(tmp_path: Path, args: tuple[str, ...]) -> None:
    done = Cli(tmp_path / "home")(*args, check=2)
    assert "Usage: " in done.out + done.err
    assert "playlake: " not in done.err


def test_nothing_is_made_by_wrong_use(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home")
    for args in WRONG:
        cli(*args, check=2)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_a_folder_is_said(tmp_path: Path) -> None:
    store = tmp_path / "home" / "data" / "store"
    store.parent.mkdir(parents=True)
    store.write_text("not a folder")
    done = Cli(tmp_path / "home")("up", check=1)
    assert f"{store} can't be used: File exists." in done.err
    assert store.read_text() == "not a folder"


def test_ctrl_c_while_verifying_is_no_finding() -> None:
    class Interrupted:
        def execute(self, query: str, parameters: object = None) -> object:
            raise RuntimeError("Query interrupted")

    report = verify.Report()
    interrupted: Any = Interrupted()
    for files in (Files(whole=["s3://lake/file.parquet"]), Files(doubtful=["s3://lake/file.parquet"])):
        with pytest.raises(RuntimeError, match="Query interrupted"):
            rows.readable(interrupted, files, report, lambda _path: None)
    assert report.unreadable_files == []
