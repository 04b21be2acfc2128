"""The command line. Every command takes ``--json``: one object on standard output, progress on standard error."""

from __future__ import annotations

import sys


def main() -> None:
    """The command ``playlake``. Its parts are loaded only here, so that Ctrl-C while they load is no traceback."""
    try:
        from playlake.cli.main import main as run
        from playlake.lean import without_pandas

        without_pandas()
        run()
    except KeyboardInterrupt:
        sys.exit(130)
