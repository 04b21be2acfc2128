"""Commands of developers, which are run by hand: `make bench`, `make chaos`, `make soak`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn


def interruptible(main: Callable[[], int | None]) -> NoReturn:
    """Exit with the code of ``main``; Ctrl-C ends it with 130 and a line, not a traceback."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("Interrupted: nothing was recorded. Run it again from the start.", file=sys.stderr)
        sys.exit(130)
