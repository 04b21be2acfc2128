"""A wall clock that jumps, for processes that are started with it; see clock.c. It takes a C compiler."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

JUMPS_S = (7200, -7200, 600, -600)
"""Two hours are more than a store allows between its clock and that of a signature (15 minutes): until the clock is
right again it refuses everything. Ten minutes it lets pass."""


class WallClock:
    """The shift of the wall clock of all processes that were started with :attr:`env`."""

    def __init__(self, folder: Path) -> None:
        library, self._file = folder / "clock.so", folder / "clock"
        source = Path(__file__).with_name("clock.c")
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, source, "-ldl", "-pthread"], check=True
        )
        self.env = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(self._file)}
        self._file.write_bytes(struct.pack("q", 0))

    def shift(self, seconds: int) -> None:
        """Let the wall clock jump to so many seconds from the true time, at once."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", seconds))
