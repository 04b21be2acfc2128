"""The tests' own nursery of commands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import forks


def test_who_is_interrupted_leaves_no_answer_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nursery = forks.Nursery(os.environ, tmp_path)
    try:

        def interrupted() -> str:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(nursery._process.stdout, "readline", interrupted)
            with pytest.raises(KeyboardInterrupt):
                nursery.ask(do="poll", child=0)
        out = tmp_path / "out"
        assert nursery.start("--version", out=out, env=os.environ).wait(60) == 0
        assert out.read_text().startswith("playlake")
        killed = nursery.start("land", out=out, env=os.environ)
        killed.kill()
        assert killed.wait(60) in (-9, 1, 2), "killed, or at its end before"
    finally:
        nursery.close()
