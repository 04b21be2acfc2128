"""Account exports to import."""

from __future__ import annotations

import json
import os
import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

HISTORY = "TEST_HISTORY"
"""Environment variable that names a real export to test with, instead of a made one."""


def make_export(folder: Path, rows: int, *, files: int = 2, seed: int = 1) -> Path:
    """An account export in Spotify's form: some tracks of a few artists, identical rows and zero lengths among them."""
    rng = random.Random(seed)
    at = datetime(2024, 1, 1, 8, tzinfo=UTC)
    made: list[dict[str, Any]] = []
    while len(made) < rows:
        at += timedelta(minutes=rng.choice((0, 0, 2, 3, 4, 60)))
        artist = rng.randrange(25)
        row = {
            "endTime": at.strftime("%Y-%m-%d %H:%M"),
            "artistName": f"Künstler {artist}",
            "trackName": f"Stück {artist}-{rng.randrange(12)}",
            "msPlayed": rng.choice((0, 900, 30_000, 180_000, 240_000, 900_000)),
        }
        made += [row] * (2 if rng.random() < 0.02 else 1)
    folder.mkdir(parents=True, exist_ok=True)
    made = made[:rows]
    size = -(-rows // files)
    for n in range(files):
        part = made[n * size : (n + 1) * size]
        (folder / f"StreamingHistory{n}.json").write_text(json.dumps(part, ensure_ascii=False, indent=1), "utf-8")
    return folder


def history(folder: Path) -> Path:
    """The real export that ``TEST_HISTORY`` names, or a made one of 5,000 plays."""
    given = os.environ.get(HISTORY)
    return Path(given) if given else make_export(folder, 5_000, files=3)


def rows_of(export: Path) -> list[dict[str, Any]]:
    """All rows of an export, read all at once by the standard library."""
    files = sorted(export.glob("StreamingHistory*.json"))
    return [row for file in files for row in json.loads(file.read_text("utf-8"))]


def age(path: Path) -> Path:
    """Let a file or folder look as if it had been there for a while."""
    for file in [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]:
        os.utime(file, (time.time() - 60,) * 2)
    return path
