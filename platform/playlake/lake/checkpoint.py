"""A checkpoint of a table's log, made by a process of its own: deltalake takes 70 MB, which a writer would then keep.

Run as ``python -m playlake.lake.checkpoint s3://bucket/folder``, with the store's settings in the environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping

from playlake.lifeline import follow, lifeline

_OPTIONS = "PLAYLAKE_STORAGE_OPTIONS"
_SECONDS = 120.0
"""A checkpoint of 100,000 files takes a few; a store that stalls is not to hold the writer for long."""


def make(uri: str, options: Mapping[str, str]) -> None:
    """Write the state of the log as one file, and remove the entries that are old.

    :param options: the store's, in deltalake's words.
    :raises OSError: when it could not be made.
    """
    try:
        with lifeline() as line:
            done = subprocess.run(
                [sys.executable, "-P", "-m", __name__, uri],  # -P: nothing is imported from the folder we are in
                env={**os.environ, **line.variables, _OPTIONS: json.dumps(dict(options))},
                pass_fds=line.fds,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                # Ctrl-C is for the writer, which ends in its own time.
                start_new_session=True,
            )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"it took more than {_SECONDS:.0f} s") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise OSError(said[-1] if said else f"its process ended with {done.returncode}")


def _main() -> None:
    from deltalake import DeltaTable

    from playlake import failpoints

    follow()
    table = DeltaTable(sys.argv[1], storage_options=json.loads(os.environ[_OPTIONS]))
    table.create_checkpoint()
    failpoints.hit("in-checkpoint")
    table.cleanup_metadata()


if __name__ == "__main__":
    _main()
