"""dbt's command, for as long as lives who started it: run as ``python -m``, with a pipe of theirs as standard input.

Killed, they leave dbt behind, which would hold the warehouse's file from the next build until it is through. What it
says comes by a callback: as its own JSON lines it would write out each of three thousand events, for a few to be read.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from typing import Any

_NOT_SAID = ("debug", "test")
_TO_ITS_FILE = ("--log-level", "none", "--log-level-file", "debug", "--no-use-colors", "--no-use-colors-file")


def _end_with_the_parent() -> None:
    os.read(0, 1)  # nothing is ever written: the pipe's end closes with the process that holds it
    os._exit(1)


def _run(arguments: list[str]) -> int:
    """Run dbt, saying its events as JSON lines on standard output; returns its exit code."""
    from dbt.cli.main import dbtRunner
    from dbt_common.events.functions import env_scrubber

    errors = 0

    def say(level: str, text: str) -> None:
        sys.stdout.write(json.dumps({"info": {"level": level, "msg": env_scrubber(text)}}) + "\n")
        sys.stdout.flush()

    def hear(event: Any) -> None:
        nonlocal errors
        if event.info.level not in _NOT_SAID:
            errors += event.info.level == "error"
            say(event.info.level, event.info.msg)

    result = dbtRunner(callbacks=[hear]).invoke([*_TO_ITS_FILE, *arguments])
    if result.exception is None:
        return 0 if result.success else 1
    if not errors:
        say("error", str(result.exception))
    return 2


if __name__ == "__main__":
    gc.set_threshold(100_000, 50, 100)  # a project is a million objects that stay: to look at them all is in vain
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        sys.exit(_run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
