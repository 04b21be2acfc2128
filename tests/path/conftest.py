"""The quick suite's patience with an idle log."""

from __future__ import annotations

import pytest

from playlake.lake.writer import Writer


@pytest.fixture(autouse=True)
def short_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """`land --until-idle` looks at an idle log for 0.2 s instead of 1 s: nobody produces beside it here."""
    assert Writer.run.__kwdefaults__
    monkeypatch.setitem(Writer.run.__kwdefaults__, "idle_s", 0.2)
