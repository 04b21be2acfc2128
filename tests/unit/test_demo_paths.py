"""Paths that `make demo HISTORY=…` hands over in one word."""

from __future__ import annotations

from pathlib import Path

import pytest

from playlake.cli.demo import _split


def test_several_paths_are_told_apart_and_one_with_a_blank_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "a b", "with blank"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _split(tmp_path / "a") == [tmp_path / "a"]
    assert _split(tmp_path / "with blank") == [tmp_path / "with blank"]
    assert _split(Path(f"{tmp_path}/a ~/b")) == [tmp_path / "a", tmp_path / "b"]
    assert _split(tmp_path / "no such file.zip") == [tmp_path / "no such file.zip"], "it is reported whole"
    assert _split(Path(f"{tmp_path}/a {tmp_path}/nowhere")) == [Path(f"{tmp_path}/a {tmp_path}/nowhere")]
