"""The errors a person can cause. The command line prints their text, never a traceback."""

from __future__ import annotations


class PlaylakeError(Exception):
    """Something failed: what happened, what it means and what to do, in one or two lines. Exit code 1."""

    exit_code = 1

    def __init__(self, what: str, to_do: str = "") -> None:
        super().__init__(f"{what} {to_do}".strip())
        self.what = what
        """Without what to do, for one that tries again by itself."""


class UsageError(PlaylakeError):
    """The command or a setting was used wrongly. Exit code 2."""

    exit_code = 2


class UnavailableError(PlaylakeError):
    """A server that is needed does not answer."""


def was_interrupted(error: BaseException) -> bool:
    """Whether an error is Ctrl-C: DuckDB hands it on as an error of its own, "Query interrupted"."""
    return isinstance(error, KeyboardInterrupt) or str(error) in ("Query interrupted", "INTERRUPT Error: Interrupted!")
