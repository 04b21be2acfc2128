"""The inbox: what is new in it, what is left alone, and what a receipt keeps from being read again."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from playlake.errors import UsageError
from playlake.sources.exports import inbox


def drop(folder: Path, name: str, text: str = "[]", *, age_s: float = 60) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def settle(dropped: inbox.Dropped, **told: object) -> None:
    dropped.receipt.write_text(json.dumps({"fingerprint": dropped.fingerprint, **told}))


def names(folder: Path) -> list[str]:
    return [d.path.name for d in inbox.new_in(folder)]


def test_an_inbox_that_is_not_there_is_made(tmp_path: Path) -> None:
    assert names(tmp_path / "in" / "box") == []
    assert (tmp_path / "in" / "box").is_dir()


def test_files_folders_and_zips_are_found_the_oldest_first(tmp_path: Path) -> None:
    drop(tmp_path, "b.json", age_s=10)
    drop(tmp_path, "export/StreamingHistory0.json", age_s=30)
    drop(tmp_path, "a.zip", age_s=20)
    (tmp_path / "empty").mkdir()
    assert names(tmp_path) == ["export", "a.zip", "b.json"]


@pytest.mark.parametrize("name", [".hidden", "x.zip.part", "x.zip.crdownload", "x.TMP", "README.md"])
def test_what_is_no_export_yet_is_left_alone(tmp_path: Path, name: str) -> None:
    drop(tmp_path, name)
    assert names(tmp_path) == []


def test_what_may_still_be_being_copied_waits_for_the_next_round(tmp_path: Path) -> None:
    drop(tmp_path, "export/StreamingHistory0.json", age_s=60)
    drop(tmp_path, "export/StreamingHistory1.json", age_s=0)
    assert names(tmp_path) == []
    assert [d.path.name for d in inbox.new_in(tmp_path, now=time.time() + inbox.SETTLE_S + 1)] == ["export"]


def test_a_receipt_keeps_it_from_being_read_again_until_it_changes(tmp_path: Path) -> None:
    path = drop(tmp_path, "a.json")
    (dropped,) = inbox.new_in(tmp_path)
    settle(dropped, complete=True)
    assert names(tmp_path) == []
    path.write_text("[1]")
    os.utime(path, (time.time() - 60,) * 2)
    assert names(tmp_path) == ["a.json"]
    settle(inbox.new_in(tmp_path)[0], error="no history")
    assert names(tmp_path) == []
    dropped.receipt.unlink()
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"fingerprint": 1}'])
def test_a_receipt_that_is_none_counts_for_nothing(tmp_path: Path, text: str) -> None:
    drop(tmp_path, "a.json")
    (dropped,) = inbox.new_in(tmp_path)
    dropped.receipt.write_text(text)
    assert names(tmp_path) == ["a.json"]


def test_an_import_that_broke_off_goes_on_the_next_time(tmp_path: Path) -> None:
    drop(tmp_path, "a.json")
    settle(inbox.new_in(tmp_path)[0], complete=False)
    assert names(tmp_path) == ["a.json"]


def test_a_refusal_is_a_receipt_too(tmp_path: Path) -> None:
    drop(tmp_path, "holiday.jpg")
    (dropped,) = inbox.new_in(tmp_path)
    dropped.refuse("it is no history")
    assert json.loads((tmp_path / "holiday.jpg.receipt.json").read_text())["error"] == "it is no history"
    assert names(tmp_path) == []


def test_a_change_inside_a_folder_is_a_change(tmp_path: Path) -> None:
    drop(tmp_path, "export/StreamingHistory0.json")
    settle(inbox.new_in(tmp_path)[0], complete=True)
    drop(tmp_path, "export/deep/er/StreamingHistory1.json")
    assert names(tmp_path) == ["export"]


def test_an_inbox_that_can_not_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="PLAYLAKE_INBOX"):
        inbox.new_in(tmp_path / "file")
