"""Putting the object store's indexes right."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from playlake.errors import PlaylakeError
from playlake.stack import mending, servers


def test_the_wheel_has_the_entries_that_are_counted_with() -> None:
    """SeaweedFS's builds differ: 5-byte offsets allow volumes of 8000 GB, and make entries of 17 bytes."""
    assert "8000GB" in subprocess.run([servers.weed(), "version"], capture_output=True, text=True, check=True).stdout


def test_whole_indexes_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "playlake_1.idx").write_bytes(b"x" * 17 * 3)
    (tmp_path / "playlake_2.idx").write_bytes(b"")
    assert mending.mend_indexes(tmp_path) == []
    assert mending.mend_indexes(tmp_path / "not there yet") == []


def test_an_index_that_can_not_be_made_anew_is_said(tmp_path: Path) -> None:
    (tmp_path / "playlake_1.idx").write_bytes(b"x" * 20)
    with pytest.raises(PlaylakeError, match=r"playlake_1\.idx is damaged"):
        mending.mend_indexes(tmp_path)
