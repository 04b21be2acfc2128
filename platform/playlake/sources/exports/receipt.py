"""The receipt of an import: what became of every input row."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from playlake.sources.exports.format import Refused


@dataclass(slots=True)
class FileReceipt:
    """One file. ``damaged`` says why it could not be read to its end."""

    file: str
    read: int = 0
    produced: int = 0
    same: int = 0
    refused: int = 0
    damaged: str | None = None
    sent: int = 0

    @property
    def unsettled(self) -> int:
        """Rows sent that the broker has not acknowledged: 0 unless the import failed."""
        return self.sent - self.produced


@dataclass(slots=True)
class Receipt:
    """All rows of an import: read = produced + same + refused (+ unsettled, where it failed half-way).

    ``same`` are rows whose event the lake already held before this import. Refused rows are written, whole, to
    ``refused_file``. ``ignored`` names files that look like history and were not read, with the reason.
    """

    user_id: str
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    files: list[FileReceipt] = field(default_factory=list)
    ignored: dict[str, str] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    """By reason, the value of the first row that was refused for it."""
    refused_file: str | None = None
    receipt_file: str | None = None
    overlaps: list[str] = field(default_factory=list)
    """Of which files the plays differ in the time that both cover, in words."""
    complete: bool = False
    fingerprint: str | None = None
    """Of what was read, where it came from the inbox."""

    @property
    def read(self) -> int:
        """Rows read."""
        return sum(f.read for f in self.files)

    @property
    def produced(self) -> int:
        """Rows whose event the broker has acknowledged."""
        return sum(f.produced for f in self.files)

    @property
    def same(self) -> int:
        """Rows that the lake already had."""
        return sum(f.same for f in self.files)

    @property
    def refused(self) -> int:
        """Rows that are no plays."""
        return sum(f.refused for f in self.files)

    @property
    def unsettled(self) -> int:
        """Rows sent that the broker has not acknowledged: 0 unless the import failed."""
        return sum(f.unsettled for f in self.files)

    @property
    def damaged(self) -> list[FileReceipt]:
        """Files that could not be read to their end."""
        return [f for f in self.files if f.damaged]

    @property
    def balanced(self) -> bool:
        """Whether every row read is accounted for, file by file."""
        return all(f.read == f.produced + f.same + f.refused + f.unsettled for f in self.files)

    def problems(self) -> list[str]:
        """What is to be said of files that could not be read to their end, and of an import that took nothing."""
        return [text for text in (self._damage(), self._nothing()) if text]

    def _damage(self) -> str | None:
        if not self.damaged:
            return None
        files = "; ".join(
            f"{f.file} could not be read" + (f" to the end after row {f.read:,}" if f.read else "") + f" ({f.damaged})"
            for f in self.damaged[:3]
        )
        more = f" and {len(self.damaged) - 3} more" if len(self.damaged) > 3 else ""
        taken = self.produced + self.same
        return f"{files}{more}." + (
            f" The {taken:,} good rows are in; import whole files, and only what is missing is added."
            if taken
            else " Give the files that Spotify sent."
        )

    def _nothing(self) -> str | None:
        if self.produced or self.same or self.unsettled or (self.damaged and not self.read):
            return None
        if not self.read:
            return (
                "Nothing was imported: the history files have no rows."
                " Ask Spotify for the data again after some listening, or give another export."
            )
        reasons = "; ".join(f"{self.example(reason)} ({count:,})" for reason, count in self.reasons.most_common(3))
        more = f"; and {len(self.reasons) - 3} more reasons" if len(self.reasons) > 3 else ""
        advice = (
            "playlake imports music from Spotify's account data: give an export that has some."
            if any("not imported yet" in reason for reason in self.reasons)
            else "The receipt keeps the rows. Give the files as Spotify sent them."
        )
        return f"Nothing was imported: all {self.read:,} rows were refused: {reasons}{more}. {advice}"

    def example(self, reason: str) -> str:
        """A reason with the first value that it was given for."""
        return f"{reason}: {self.examples[reason]}" if reason in self.examples else reason

    def as_dict(self) -> dict[str, Any]:
        """For ``--json`` and the receipt file."""
        return {
            **({"fingerprint": self.fingerprint} if self.fingerprint else {}),
            "user_id": self.user_id,
            "started_at": self.started_at,
            "complete": self.complete,
            "read": self.read,
            "produced": self.produced,
            "same": self.same,
            "refused": self.refused,
            "unsettled": self.unsettled,
            "reasons": dict(self.reasons),
            "examples": self.examples,
            "ignored": self.ignored,
            "overlaps": self.overlaps,
            "files": [
                {
                    "file": f.file,
                    "read": f.read,
                    "produced": f.produced,
                    "same": f.same,
                    "refused": f.refused,
                    "unsettled": f.unsettled,
                    "damaged": f.damaged,
                }
                for f in self.files
            ],
            "refused_file": self.refused_file,
            "receipt_file": self.receipt_file,
        }


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody ever sees a part of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8", errors="backslashreplace")
    part.replace(path)


class ReceiptBook:
    """Writes a receipt to ``path``, and the refused rows, if any, to ``refused``."""

    def __init__(self, receipt: Receipt, path: Path, refused: Path) -> None:
        self._receipt = receipt
        self._path = path
        self._refused = refused
        refused.unlink(missing_ok=True)

    @classmethod
    def in_folder(cls, receipt: Receipt, folder: Path) -> Self:
        """A receipt of this moment in a folder for receipts."""
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)  # what somebody listened to is theirs alone
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{os.getpid()}"
        return cls(receipt, folder / f"{name}.json", folder / f"{name}.refused.jsonl")

    def refuse(self, file: FileReceipt, number: int, refused: Refused) -> None:
        """Keep a refused row: where it stood, why, and the row itself."""
        file.refused += 1
        self._receipt.reasons[refused.reason] += 1
        if refused.value is not None:
            self._receipt.examples.setdefault(refused.reason, refused.value)
        self._receipt.refused_file = str(self._refused)
        reason = refused.reason if refused.value is None else f"{refused.reason}: {refused.value}"
        entry = {"file": file.file, "row": number, "reason": reason}
        try:
            text = json.dumps({**entry, "data": refused.row}, ensure_ascii=False, default=str)
        except RecursionError:
            text = json.dumps({**entry, "data": "(nested too deep to be written again; see the file)"})
        # Names of files need not be text: what is no UTF-8 is written as its escapes.
        with self._refused.open("a", encoding="utf-8", errors="backslashreplace") as lines:
            lines.write(text + "\n")

    def save(self) -> None:
        """Write the receipt as it stands."""
        self._receipt.receipt_file = str(self._path)
        text = json.dumps(self._receipt.as_dict(), ensure_ascii=False, indent=1) + "\n"
        write_whole(self._path, text)
