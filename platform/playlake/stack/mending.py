"""What a full disk or a crash leaves in the object store's folder, and how it is put right before the store starts."""

from __future__ import annotations

import subprocess
from pathlib import Path

from playlake.errors import PlaylakeError
from playlake.stack import servers

ENTRY_BYTES = 17
"""One entry of a volume's index in the wheel's build of SeaweedFS (8-byte id, 5-byte offset, 4-byte size)."""

_TIMEOUT_S = 600


def torn_indexes(data: Path) -> list[Path]:
    """Volume indexes whose last entry is half written.

    SeaweedFS does not load such a volume, and everything in it is then missing, though its data file is whole.
    """
    return sorted(p for p in data.glob("*.idx") if p.stat().st_size % ENTRY_BYTES)


def mend_indexes(data: Path) -> list[str]:
    """Make torn indexes anew from their data files, by SeaweedFS's own tool; the store must not run.

    :returns: the volumes' names.
    :raises PlaylakeError: when the tool can't do it.
    """
    mended = []
    for index in torn_indexes(data):
        command = [servers.weed(), "-logtostderr=true", "fix", str(index.with_suffix(".dat"))]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        except (OSError, subprocess.TimeoutExpired) as error:
            last = [str(error)]
        if index.stat().st_size % ENTRY_BYTES:
            raise PlaylakeError(
                f"The object store's index {index} is damaged (a disk that was full?) and could not be made anew:"
                f" {' '.join(last)}. Free some disk and run this again, or bring {data} back from a copy."
            )
        mended.append(index.stem)
    return mended
