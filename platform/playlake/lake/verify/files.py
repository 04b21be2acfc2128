"""The files of a table: is the log whole, and is in the store what it says?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from playlake.lake import log
from playlake.lake.store import Object, Store
from playlake.lake.verify.report import FileFinding, Report


@dataclass(slots=True)
class Files:
    """The live files of a table, as addresses that DuckDB reads."""

    whole: list[str] = field(default_factory=list)
    """In the store, in the size that the log has."""
    doubtful: list[str] = field(default_factory=list)
    """Of another size: to be read one by one, if at all."""
    positions: dict[str, int] = field(default_factory=dict)
    """The table's application transactions, of the same version."""


def look(store: Store, bucket: str, folder: str, report: Report, now: Callable[[], datetime] | None = None) -> Files:
    """Compare a table's log with what the store lists below its folder; what is wrong goes into the report."""
    # The listing comes first: a file that is listed and that no version of the log, read later, knows is an orphan or
    # about to be committed. A live file that it has not may have come since, and is looked for by itself.
    listed = {key.removeprefix(f"{folder}/"): of for key, of in store.listing(folder).items()}
    state = log.read(store, folder)
    report.log_faults += [FileFinding(f"s3://{bucket}/{folder}/_delta_log", fault) for fault in state.faults]
    found = Files(positions=state.positions)
    for path, size in sorted(state.files.items()):
        report.files += 1
        if "://" in path:  # in another place, as a shallow clone's are
            found.doubtful.append(path)
            continue
        uri = f"s3://{bucket}/{folder}/{path}"
        has = listed.get(path) or store.listing(f"{folder}/{path}").get(f"{folder}/{path}")
        if has is None:
            report.missing_files.append(FileFinding(uri, "the store has no such file"))
        elif has.size != size:
            report.wrong_size_files.append(FileFinding(uri, f"{has.size:,} bytes where the log has {size:,}"))
            found.doubtful.append(uri)
        else:
            found.whole.append(uri)
    known = state.files.keys() | state.removed
    if state.version is not None:
        strays = [of for path, of in listed.items() if path not in known and not _is_hidden(path)]
        _count(strays, report, (now or _utc)())
    return found


def _is_hidden(path: str) -> bool:
    """Such files are no data: the log itself, and what other programs leave."""
    return any(part.startswith(("_", ".")) for part in path.split("/"))


def _count(strays: list[Object], report: Report, now: datetime) -> None:
    for of in strays:
        age = max((now - of.modified).total_seconds(), 0.0)
        report.orphans.files += 1
        report.orphans.bytes += of.size
        report.orphans.oldest_s = max(report.orphans.oldest_s or 0.0, age)


def _utc() -> datetime:
    return datetime.now(UTC)
