"""Commands that run in the tests' own process."""

from __future__ import annotations

import ctypes
import importlib
import os
from pathlib import Path

import pytest

from tests.support.commands import Cli


def test_a_command_has_its_variables_and_the_process_keeps_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads of libraries read the process's environment without a lock; if it moves, the process can end."""
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_char_p
    place = ctypes.c_void_p.in_dll(libc, "environ")
    seen: list[tuple[str, bytes | None, int | None]] = []

    def main() -> None:
        seen.append((os.environ["PLAYLAKE_HOME"], libc.getenv(b"PLAYLAKE_HOME"), place.value))

    monkeypatch.setattr(importlib.import_module("playlake.cli.main"), "main", main)
    before = place.value
    Cli(tmp_path / "home")()
    assert seen == [(str(tmp_path / "home"), None, before)]
    assert "PLAYLAKE_HOME" not in os.environ
