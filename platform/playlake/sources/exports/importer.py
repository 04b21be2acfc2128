"""Importing an export: every row read becomes an event on Kafka, or was there before, or is refused with its reason."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from playlake import events
from playlake.errors import PlaylakeError, UsageError
from playlake.events.model import MAX_TEXT
from playlake.sources.exports.coverage import Coverage, overlaps
from playlake.sources.exports.files import Export, HistoryFile, find_exports
from playlake.sources.exports.format import DamagedFileError, Refused
from playlake.sources.exports.receipt import FileReceipt, Receipt, ReceiptBook

_FLUSH_ROWS = 5_000


class Sink(Protocol):
    """Where the events go (``playlake.broker.Producer`` is one)."""

    def send(self, topic: str, key: str, value: bytes | None) -> None: ...
    def flush(self) -> None: ...


def import_history(
    paths: Iterable[Path],
    *,
    user_id: str,
    sink: Callable[[], Sink],
    known: Callable[[str], frozenset[bytes]],
    book: Callable[[Receipt], ReceiptBook],
    on_progress: Callable[[Receipt], None] | None = None,
) -> Receipt:
    """Import all history below ``paths``.

    :param sink: connects to the broker; called once the files have been found.
    :param known: for a format's name, the ids (16 bytes each) of this listener's events that the lake holds.
    :param book: where the receipt and the refused rows go. The receipt is also written when the import fails.
    :returns: the receipt; a damaged file is marked in it, with what came before the damage.
    :raises UsageError: when there is nothing to import.
    :raises UnavailableError: when the broker does not take the events. Rows sent but not acknowledged then stand in the
        receipt as ``unsettled``: they may or may not have arrived, and importing again settles them.
    """
    check_listener(user_id)
    found = find_exports(paths)
    receipt = Receipt(user_id, ignored=found.ignored)
    written = book(receipt)
    target = sink()
    coverage: list[Coverage] = []
    try:
        for export in found.exports:
            before = known(export.format.name)
            for file in export.files:
                coverage.append(Coverage(file.label))
                _import_file(file, export, before, target, receipt, written, coverage[-1], on_progress)
        receipt.overlaps = overlaps(coverage)
        receipt.complete = True
    finally:
        written.save()
    if not receipt.balanced:
        raise PlaylakeError(
            f"The receipt's sums differ, which is a bug: keep {receipt.receipt_file} and report it."
            " Importing again is safe."
        )
    return receipt


def check_listener(user_id: str) -> None:
    """See that events can be of this listener.

    :raises UsageError: when the name is empty, blank or too long.
    """
    if not user_id.strip() or len(user_id) > MAX_TEXT:
        raise UsageError(f"{user_id[:40]!r} can't name a listener. Give --user a name of 1 to {MAX_TEXT} characters.")


def _import_file(
    file: HistoryFile,
    export: Export,
    before: frozenset[bytes],
    sink: Sink,
    receipt: Receipt,
    book: ReceiptBook,
    coverage: Coverage,
    on_progress: Callable[[Receipt], None] | None,
) -> None:
    entry = FileReceipt(file.label)
    receipt.files.append(entry)
    try:
        with file.open() as stream:
            for outcome in export.format.read(stream, receipt.user_id):
                entry.read += 1
                if isinstance(outcome, Refused):
                    book.refuse(entry, entry.read, outcome)
                    continue
                coverage.add(outcome)
                if events.id_bytes(outcome.event_id) in before:
                    entry.same += 1
                else:
                    entry.sent += 1
                    sink.send(events.PLAYS, outcome.user_id, events.encode(outcome))
                    if entry.sent - entry.produced >= _FLUSH_ROWS:
                        _acknowledge(sink, entry)
                        if on_progress:
                            on_progress(receipt)
    except DamagedFileError as error:
        entry.damaged = str(error)
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        entry.damaged = f"can't be read on: {error}"
    _acknowledge(sink, entry)
    if on_progress:
        on_progress(receipt)


def _acknowledge(sink: Sink, entry: FileReceipt) -> None:
    """Count rows as produced once the broker has them all."""
    sink.flush()
    entry.produced = entry.sent
