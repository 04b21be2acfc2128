"""The note of a membership on a disk that takes no more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WRITER = """
import resource, sys
from playlake.broker.membership import Member
from playlake.settings import load_settings

settings = load_settings(_env_file=None, home=sys.argv[1])
member = Member(settings, "group")
before = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # files can be made and nothing written to them
member.is_now("one")
resource.setrlimit(resource.RLIMIT_FSIZE, before)
assert not list(settings.home_path.glob("members/*"))
member.is_now("two")
(note,) = settings.home_path.glob("members/*.json")
assert "two" in note.read_text()
member.left()
assert not note.exists()
"""


def test_a_full_disk_costs_the_note_only(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "default::ResourceWarning", "-c", WRITER, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "no note of the membership" in done.stdout
    assert "Warning" not in done.stderr
