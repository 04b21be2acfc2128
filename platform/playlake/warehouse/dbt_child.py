"""dbt's command, for as long as lives who started it: run as ``python -m``, with a pipe of theirs as standard input.

Killed, they leave dbt behind, which would hold the warehouse's file from the next build until it is through.
"""

from __future__ import annotations

import os
import threading


def _end_with_the_parent() -> None:
    os.read(0, 1)  # nothing is ever written: the pipe's end closes with the process that holds it
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    from dbt.cli.main import cli

    cli()
