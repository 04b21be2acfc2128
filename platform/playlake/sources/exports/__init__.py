"""Importing histories that a person was given as files.

Each format is a reader (:class:`~playlake.sources.exports.format.Format`) that turns a file's rows into events or
reasons; finding the files, producing and the receipt are the same for all.
"""

from playlake.sources.exports.importer import import_history
from playlake.sources.exports.receipt import Receipt, ReceiptBook

__all__ = ["Receipt", "ReceiptBook", "import_history"]
