"""What every suite has: the fixtures of tests/support, deterministic Hypothesis, containers where asked."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings as hypothesis_settings

pytest.register_assert_rewrite("tests.support")
pytest_plugins = ["tests.support.fixtures", "tests.support.containers", "tests.support.orchestration"]

hypothesis_settings.register_profile("same", derandomize=True, deadline=None)
hypothesis_settings.load_profile("same")

# Started in the background by a shell, Ctrl-C would be ignored by all that the tests start; they are to heed it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--stack`` chooses the servers of the contract suites."""
    parser.addoption("--stack", choices=("embedded", "containers"), default="embedded")
