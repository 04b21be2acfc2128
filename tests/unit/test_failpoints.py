"""Failpoints: their names are checked. That a process dies or freezes there, tests/faults shows."""

from __future__ import annotations

import pytest

from playlake import failpoints
from playlake.errors import UsageError
from playlake.settings import load_settings


@pytest.mark.parametrize("value", [":1", "a:x", "a:1:pause", "a:-1"])
def test_what_names_no_failpoint_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(failpoints.VARIABLE, value)
    with pytest.raises(UsageError, match="names no failpoint"):
        failpoints.hit("a")


def test_it_is_no_stray_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(failpoints.VARIABLE, "a")
    load_settings(_env_file=None)
