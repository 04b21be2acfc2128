"""Commands that look after the lake: lake verify, acknowledge, pending, arrived, compact, prune."""

from __future__ import annotations

import json as jsonlib
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from playlake.cli.common import Json, length, load, out, progress, show, table, warn
from playlake.errors import UsageError

if TYPE_CHECKING:
    from playlake.lake.verify import Report
    from playlake.settings import Settings

lake_app = typer.Typer(help="Look after the lake.", no_args_is_help=True)


@lake_app.command("verify")
def lake_verify(json: Json = False) -> None:
    """Check log and lake independently of the writer. Exit code 1 when anything is wrong."""
    from playlake.lake.verify.report import SAMPLE

    report = _verified(load())
    orphans = report.orphans
    data = {
        "healthy": report.healthy,
        "lost": report.lost,
        "expired": report.expired,
        "acknowledged": report.acknowledged,
        "doubled": report.doubled,
        "unreadable": report.unreadable,
        "missing": len(report.missing_files),
        "wrong_size": len(report.wrong_size_files),
        "misplaced": report.misplaced,
        "log_faults": len(report.log_faults),
        "pending": sum(p.pending for p in report.partitions),
        "files": report.files,
        "orphans": asdict(orphans),
        "partitions": [
            {**asdict(p), "topic": p.name, "expired_ranges": p.expired_ranges[:SAMPLE]} for p in report.partitions
        ],
        "findings": [asdict(f) for f in report.findings],
        "withheld": [w.as_dict() for w in report.withheld],
    }
    rows = [
        (p.name, str(p.partition), p.in_log, p.in_bronze, p.in_dead_letters, p.lost, p.expired, p.doubled, p.pending)
        for p in report.partitions
        if p.in_log or p.in_bronze or p.in_dead_letters or p.unread or p.expired
    ]
    columns = ("topic", "partition", "in log", "bronze", "dead", "lost", "expired", "doubled", "pending")
    show(json, data, table(*columns, rows=rows))
    if not json:
        _say(report)
    if not report.healthy:
        raise typer.Exit(1)


def _verified(settings: Settings) -> Report:
    from playlake.lake.verify import verify
    from playlake.warehouse import duck

    with progress() as say:
        say("connecting")
        with duck.connect(settings) as connection:
            return verify(settings, connection, on_progress=say)


@lake_app.command("acknowledge")
def lake_acknowledge(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be acknowledged.")] = False,
    json: Json = False,
) -> None:
    """Say that you know of what expired: Kafka's retention removed it before it was landed, and it can't come back.

    `lake verify` goes on telling of it, as acknowledged, and no longer fails for it. What expires later fails again.
    """
    from playlake.lake.acknowledge import acknowledge

    settings = load()
    report = _verified(settings)
    found = [p for p in report.partitions if p.expired]
    if not dry_run:
        acknowledge(settings, found)
    rows = [(p.name, str(p.partition), f"{a:,} to {b - 1:,}") for p in found for a, b in p.expired_ranges]
    data = {"acknowledged": report.expired, "before": report.acknowledged, "dry_run": dry_run}
    show(json, data, table("topic", "partition", "offsets", rows=rows))
    if not json:
        what = "to acknowledge" if dry_run else "acknowledged now"
        out.print(f"{report.expired:,} expired offsets {what}, {report.acknowledged:,} before.")


def _say(report: Report) -> None:
    """What the table does not show."""
    from playlake import quality
    from playlake.lake.verify.report import SAMPLE

    for p in report.partitions:
        for what, count, offsets in (("lost", p.lost, p.lost_offsets), ("doubled", p.doubled, p.doubled_offsets)):
            if offsets:
                more = " …" if count > len(offsets) else ""
                out.print(f"{p.name}/{p.partition}: {what} offsets {', '.join(map(str, offsets))}{more}")
        for first, following in p.expired_ranges[:SAMPLE]:
            out.print(
                f"{p.name}/{p.partition}: offsets {first:,} to {following - 1:,} expired: Kafka's retention removed"
                " them before they were landed"
            )
        if p.acknowledged:
            out.print(f"{p.name}/{p.partition}: {p.acknowledged:,} more expired and are acknowledged")
        if p.unread:
            out.print(
                f"{p.name}/{p.partition}: the broker claims {p.unread:,} more offsets that it does not give"
                " (never acknowledged, or lost by it)"
            )
    for one in report.withheld:
        out.print(str(one))
    if report.withheld:
        out.print(quality.WITHHELD)
    for finding in report.findings:
        out.print(f"{finding.path}: {finding.what}")
    if report.orphans.files:
        meaning = (
            "keep them, as what a damaged log has forgotten may be among them."
            if report.log_faults
            else "no harm, `playlake lake prune` removes them in time."
        )
        out.print(
            f"{report.orphans.files:,} file{'' if report.orphans.files == 1 else 's'} ({report.orphans.bytes:,} bytes)"
            f" that no version knows, the oldest {(report.orphans.oldest_s or 0) / 3600:,.1f} h old: {meaning}"
        )
    plural = "" if report.files == 1 else "s"
    if report.expired:
        out.print("What expired can't come back. To say that you know of it: `playlake lake acknowledge`.")
    if report.lost or report.doubled or report.unreadable or report.misplaced or report.log_faults:
        out.print("The lake is not whole. What to do is told in docs/lake.md under Verify.")
    out.print(
        f"{report.files:,} file{plural}; {report.lost} lost, {report.expired} expired, {report.doubled} doubled,"
        f" {report.unreadable} unreadable, {report.misplaced} misplaced, {len(report.log_faults)} faults of logs"
        + (f", {sum(w.messages for w in report.withheld):,} withheld." if report.withheld else ".")
    )


@lake_app.command("pending")
def lake_pending(
    check: Annotated[
        bool, typer.Option("--check", help="Exit code 1 when something waits for longer than PLAYLAKE_MAX_LAG_S.")
    ] = False,
    json: Json = False,
) -> None:
    """What waits in Kafka to be landed: is there anything new?"""
    from playlake import quality

    settings = load()
    with progress() as say:
        say("looking at log and lake")
        found = quality.pending(settings)
    problem = quality.staleness(settings, found) if check else None
    data = {
        "pending": found.total,
        "by_topic": found.messages,
        "oldest_s": found.oldest_s,
        "withheld": [w.as_dict() for w in found.withheld],
        "problem": problem,
    }
    show(json, data, table("topic", "pending", rows=found.messages.items()))
    if found.oldest_s is not None and not json:
        out.print(f"The oldest has waited for {found.oldest_s:,.0f} s.")
    for one in found.withheld:
        warn(str(one))
    _fail(problem)


@lake_app.command("arrived")
def lake_arrived(
    since: Annotated[
        str, typer.Option(help="Table versions to count from, as this command's --json gives them in `versions`.")
    ] = "{}",
    check: Annotated[
        bool, typer.Option("--check", help="Exit code 1 when more were refused than PLAYLAKE_MAX_REFUSED_SHARE.")
    ] = False,
    json: Json = False,
) -> None:
    """What has arrived in the lake since some version of its tables, and how much of it was refused."""
    from playlake import quality

    counted_from = _versions(since)
    settings = load()
    with progress() as say:
        say("looking at the lake")
        found = quality.arrived(settings, counted_from)
    problem = quality.too_many_refused(settings, found) if check else None
    data = {
        "versions": found.versions,
        "arrived": found.rows,
        "forgotten": found.forgotten,
        "total": found.total,
        "refused": found.refused,
        "refused_share": found.refused_share,
        "problem": problem,
    }
    if found.forgotten:
        warn(
            f"the log of {', '.join(found.forgotten)} has forgotten the version to count from (it keeps 30"
            " days); counted whole."
        )
    show(json, data, table("table", "version", "rows", rows=[(t, v, found.rows[t]) for t, v in found.versions.items()]))
    _fail(problem)


def _fail(problem: str | None) -> None:
    """End with exit code 1 if there is a problem; what was found has been shown."""
    if problem:
        warn(problem)
        raise typer.Exit(1)


def _versions(text: str) -> dict[str, int]:
    try:
        found = jsonlib.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(type(version) is int for version in found.values()):
        raise UsageError(
            f'--since {text[:60]!r} are no table versions. Write {{"bronze/plays": 12}}, or leave it out to count all.'
        )
    return found


@lake_app.command("compact")
def lake_compact(
    older_than: Annotated[
        float | None,
        length("How long ago an hour must have ended; 1h unless told otherwise.", "--older-than"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be compacted.")] = False,
    json: Json = False,
) -> None:
    """Make few large files of the many small ones of hours that are over; readers and writers go on meanwhile."""
    from playlake.lake import tables
    from playlake.lake.compact import compact

    settings = load()
    age = 3600.0 if older_than is None else older_than
    done = {}
    with progress() as say:
        for one in tables.every(settings):
            say(f"looking at {one.folder}")
            done[one.folder] = compact(settings, one, older_than_s=age, dry_run=dry_run, say=say)
    rows = [(name, d.hours, d.files_before, None if dry_run else d.files_after, d.rows) for name, d in done.items()]
    unknown = {"files_after": None, "bytes_after": None} if dry_run else {}
    data = {"compacted": {name: asdict(d) | unknown for name, d in done.items()}, "dry_run": dry_run}
    show(json, data, table("table", "hours", "files before", "files after", "rows", rows=rows))
    if not json:
        if not any(d.hours or d.left for d in done.values()):
            out.print("No hour that is over has more files than it needs.")
        for name, d in done.items():
            if d.left:
                out.print(f"{name}: {d.left:,} hours were left to another process, or to the next run.")


@lake_app.command("prune")
def lake_prune(
    older_than: Annotated[
        float | None,
        length(
            "How long ago a file must have been written, or replaced by compaction: 1h to 168h; 168h if not told.",
            "--older-than",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    json: Json = False,
) -> None:
    """Remove files of the lake that no table knows: what a writer that died left, and what compaction replaced."""
    from playlake.lake import tables

    settings = load()
    hours = math.ceil((7 * 24 * 3600.0 if older_than is None else older_than) / 3600)  # never sooner than asked
    if older_than is not None and older_than < 3600:
        raise UsageError(
            "--older-than must be an hour or more: a younger file may be one that is just being committed."
        )
    if hours > 168:
        raise UsageError(
            "--older-than must be a week or less: a table's log says no longer than that when a file was replaced, so"
            " older ones can't be told apart."
        )
    removed: dict[str, int] = {}
    with progress() as say:
        for one in tables.prunable(settings):
            say(f"looking at {one.folder}")
            removed[one.folder] = len(one.prune(hours, dry_run=dry_run))
    show(json, {"removed": removed, "dry_run": dry_run}, table("table", "files", rows=removed.items()))
