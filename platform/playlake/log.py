"""Structured logs on standard error."""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

_as_json = False


def is_json() -> bool:
    """Whether whatever reads standard error expects nothing but JSON there."""
    return _as_json


@contextmanager
def as_far_as_there_is_room() -> Iterator[None]:
    """A disk that is too full for what is said about the work must not end the work."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


class _Printer(structlog.PrintLogger):
    def msg(self, message: str) -> None:
        with as_far_as_there_is_room():
            super().msg(message)

    log = debug = info = warn = warning = error = critical = fatal = exception = failure = err = msg


def configure(level: str, *, json: bool = False) -> None:
    """Send log lines of at least ``level`` to standard error, as ``key=value`` or as JSON."""
    global _as_json
    _as_json = json
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: _Printer(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # The Kafka client's own lines repeat what we report ourselves.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def get(room: str) -> structlog.stdlib.BoundLogger:
    """The logger of a room of the package."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(logger_name=room)
    return logger
