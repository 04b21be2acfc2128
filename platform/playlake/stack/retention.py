"""Retention for the embedded broker, which has none of its own: what landed long ago leaves its log.

Tansu 0.6 keeps each batch that was produced as an object, and a fetch lists all of a partition's. Two events a second
are 40,000 objects in a day; by then a listing takes longer than a fetch may, and nothing is read any more.

As on Kafka, first the log's start is moved, which readers ask for and are told, then what lies before it is removed.
The start is Tansu's own (``low`` in a partition's ``watermark.json``, replaced as Tansu itself does: only where it is
still as it was read), it never goes back, and never beyond what the lake has.
"""

from __future__ import annotations

import json
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playlake import broker, events, log
from playlake.broker import TopicPartition
from playlake.errors import PlaylakeError
from playlake.lake.positions import landed
from playlake.lake.store import ERRORS, Store
from playlake.settings import Settings
from playlake.stack.servers import KAFKA_LOG_BUCKET

_log = log.get("retention")

_FIRST_S, _EVERY_S = 2.0, 60.0
_AT_ONCE = 1000
"""Batches whose removal is begun together; who is ended in the midst of it leaves no more for the next to remove."""
_TRYING_S, _PAUSE_S = 20.0, 0.05
"""How long a log's start is tried to be moved, and the time between two tries: with each message the broker writes the
same object."""


def trim(settings: Settings, store: Store | None = None, ended: Callable[[], bool] = lambda: False) -> int:
    """Remove what has landed from the log of each partition that holds more than twice ``embedded_log_batches``
    batches, but for the latest so many. Safe beside writers, producers, verifiers, and another of its kind.

    :param store: a client of the log's bucket (:func:`log_store`), where there is one already.
    :param ended: asked every thousand batches whether to leave the rest to the next time.
    :returns: how many batches were removed.
    :raises PlaylakeError: when broker or store are away.
    """
    keep = settings.embedded_log_batches
    store = store or log_store(settings)
    removed = 0
    try:
        with broker.Admin(settings) as admin:
            topics = admin.topics(events.TOPICS)
        folders = {TopicPartition(t, p): _folder(t, p) for t, info in topics.items() for p in range(info.partitions)}
        marks = store.read_all([f"{folder}watermark.json" for folder in folders.values()])
        long = {  # a batch is of one offset at least
            tp: folder
            for tp, folder in folders.items()
            if (mark := marks.get(f"{folder}watermark.json")) and _offsets(json.loads(mark)) > 2 * keep
        }
        if not long:
            return 0
        positions = landed(settings, {t: topics[t] for t in {tp.topic for tp in long}})
        for tp, folder in long.items():
            removed += _trim_one(store, folder, positions[tp], keep, ended)
    except ERRORS as error:
        raise store.failed("trimming the broker's log", error) from error
    except ValueError as error:
        raise PlaylakeError(
            f"The embedded broker's log can't be trimmed: its watermark can't be read ({error})."
        ) from error
    return removed


def log_store(settings: Settings) -> Store:
    """A client of the bucket in which the broker keeps its log."""
    return Store(settings.model_copy(update={"s3_bucket": KAFKA_LOG_BUCKET}))


def _folder(topic: str, partition: int) -> str:
    return f"clusters/playlake/topics/{topic}/partitions/{partition:010}/"


def _offsets(mark: dict[str, Any]) -> int:
    return int(mark.get("high") or 0) - int(mark.get("low") or 0)


def _trim_one(store: Store, folder: str, position: int, keep: int, ended: Callable[[], bool]) -> int:
    batches = {int(key.rpartition("/")[2].removesuffix(".batch")): key for key in store.keys(f"{folder}records/")}
    starts = sorted(batches)
    # The batch in which the lake's position lies stays, and all after it.
    most = min(len(starts) - keep, bisect_right(starts, position) - 1)
    done = 0
    if len(starts) > 2 * keep:
        for upto in [*range(_AT_ONCE, most, _AT_ONCE), most]:
            if ended() or upto <= done:
                break
            if not _begins_at(store, f"{folder}watermark.json", starts[upto], ended):
                _log.info("the embedded broker's log can't be trimmed: it is written to all the time", at=folder)
                break
            store.delete_all([batches[first] for first in starts[done:upto]])
            done = upto
    return done


def _begins_at(store: Store, key: str, start: int, ended: Callable[[], bool]) -> bool:
    """Have the log begin at an offset, where it does not begin later; whether it now does."""
    later = False

    def moved(body: bytes) -> bytes | None:
        nonlocal later
        mark = json.loads(body)
        later = (mark.get("low") or 0) >= start
        return None if later else json.dumps({**mark, "low": start}).encode()

    until = time.monotonic() + _TRYING_S
    while not (done := store.changed(key, moved) or later) and not ended() and time.monotonic() < until:
        time.sleep(_PAUSE_S)
    return done


@contextmanager
def kept_short(settings: Settings) -> Iterator[None]:
    """Trim the embedded broker's log now and then, in a thread, for as long as this lasts; nothing on other brokers."""
    if settings.profile != "embedded":
        yield
        return
    ended = threading.Event()

    def trimming() -> None:
        wait, store = _FIRST_S, None
        while not ended.wait(wait):
            wait = _EVERY_S
            try:
                store = store or log_store(settings)
                if removed := trim(settings, store, ended.is_set):
                    _log.info("trimmed the embedded broker's log", batches=removed)
            except PlaylakeError as error:
                _log.debug("the embedded broker's log was not trimmed", why=str(error))
            except Exception:
                if ended.is_set():  # the process is ending by an error, and its clients go with it
                    return
                raise

    thread = threading.Thread(target=trimming, name="retention", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
    thread.join(5)  # a trim that is cut off, as by an error, is finished by the next
