"""Structured logs on standard error."""

from __future__ import annotations

import logging
import sys

import structlog


def configure(level: str, *, json: bool = False) -> None:
    """Send log lines of at least ``level`` to standard error, as ``key=value`` or as JSON."""
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
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # The Kafka client's own lines repeat what we report ourselves.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def get(room: str) -> structlog.stdlib.BoundLogger:
    """The logger of a room of the package."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(logger_name=room)
    return logger
