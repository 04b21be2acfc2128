"""The thread that keeps the embedded log short, where it is cut off."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from playlake.errors import PlaylakeError
from playlake.settings import load_settings
from playlake.stack import retention


def test_a_trim_that_the_end_of_the_process_cuts_off_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An end by an error waits for no trim, whose client of the store may then answer with nonsense."""
    begun, fails, threads = threading.Event(), threading.Event(), []

    def trim(_settings: object, _store: object, _ended: Callable[[], bool]) -> int:
        threads.append(threading.current_thread())
        begun.set()
        assert fails.wait(30)
        raise AttributeError("'NoneType' object has no attribute 'values'")

    monkeypatch.setattr(retention, "_FIRST_S", 0.0)
    monkeypatch.setattr(retention, "log_store", lambda _settings: None)
    monkeypatch.setattr(retention, "trim", trim)

    def run() -> None:
        with retention.kept_short(load_settings(_env_file=None, home=tmp_path)):
            assert begun.wait(30)
            raise PlaylakeError("the store is away")

    with pytest.raises(PlaylakeError):
        run()
    fails.set()
    threads[0].join(30)  # pytest fails for what a thread does not catch
