"""A lake writer that runs in a thread of the test."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from playlake.lake.watching import Landed
from playlake.lake.writer import Writer
from playlake.settings import Settings


@contextmanager
def running_writer(settings: Settings) -> Iterator[Landed]:
    """A writer in a group of its own; it is stopped at the end, and what it raised is raised.

    :returns: its counts, which go on.
    """
    writer = Writer(settings, group=f"test-{uuid.uuid4().hex}")
    raised: list[BaseException] = []

    def run() -> None:
        try:
            writer.run()
        except BaseException as error:  # noqa: BLE001 - raised again below
            raised.append(error)

    thread = threading.Thread(target=run, name="writer")
    thread.start()
    try:
        yield writer.landed
    finally:
        writer.stop()
        thread.join()
    if raised:
        raise raised[0]
