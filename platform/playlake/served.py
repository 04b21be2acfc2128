"""``python -m playlake.served <module> ...`` is ``python -m <module> ...``, and may be interrupted from its first line.

A server's library heeds Ctrl-C once it serves; while it is imported, for seconds, Python would print a traceback. Who
becomes this module blocks SIGINT before, as Python itself begins with one: a blocked signal waits.
"""

from __future__ import annotations

import runpy
import signal
import sys


def _leave(number: int, _: object) -> None:
    sys.exit(128 + number)


def main() -> None:
    """Run the module that the arguments name. Exit code 130 after Ctrl-C, whenever it comes."""
    signal.signal(signal.SIGINT, _leave)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
