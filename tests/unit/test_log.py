"""Logs and progress on a disk that is full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TELLING = """
import sys
from playlake import log
from playlake.cli.common import progress

log.configure("info", json=sys.argv[1] == "json")
with progress() as say:
    say("one stage")
    say("another")
log.get("lake").warning("a line", count=1)
print("at work")
"""


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_full_disk_does_not_end_who_tells_of_its_work(form: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", TELLING, form], stdout=subprocess.PIPE, stderr=full, text=True, timeout=120
        )
    assert (done.returncode, done.stdout) == (0, "at work\n")
