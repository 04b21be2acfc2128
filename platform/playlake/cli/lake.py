"""Commands that look after the lake: lake verify."""

from __future__ import annotations

from dataclasses import asdict

import typer

from playlake.cli.common import Json, load, out, progress, show, table

lake_app = typer.Typer(help="Look after the lake.", no_args_is_help=True)


@lake_app.command("verify")
def lake_verify(json: Json = False) -> None:
    """Check log and lake independently of the writer. Exit code 1 when anything is wrong."""
    from playlake.lake.verify import verify
    from playlake.warehouse import duck

    settings = load()
    with progress() as say:
        say("connecting")
        with duck.connect(settings) as connection:
            report = verify(settings, connection, on_progress=say)
    data = {
        "lost": report.lost,
        "doubled": report.doubled,
        "unreadable": report.unreadable,
        "misplaced": report.misplaced,
        "pending": sum(p.pending for p in report.partitions),
        "files": report.files,
        "partitions": [asdict(p) for p in report.partitions],
        "findings": [asdict(f) for f in [*report.unreadable_files, *report.misplaced_files]],
    }
    rows = [
        (p.topic, str(p.partition), p.in_log, p.in_bronze, p.in_dead_letters, p.lost, p.doubled, p.pending)
        for p in report.partitions
        if p.in_log or p.in_bronze or p.in_dead_letters or p.unread
    ]
    show(json, data, table("topic", "partition", "in log", "bronze", "dead", "lost", "doubled", "pending", rows=rows))
    if not json:
        for p in report.partitions:
            for what, offsets in (("lost", p.lost_offsets), ("doubled", p.doubled_offsets)):
                if offsets:
                    out.print(f"{p.topic}/{p.partition}: {what} offsets {', '.join(map(str, offsets))} …")
            if p.unread:
                out.print(
                    f"{p.topic}/{p.partition}: the broker claims {p.unread:,} more offsets that it does not give"
                    " (never acknowledged, or lost by it)"
                )
        for finding in [*report.unreadable_files, *report.misplaced_files]:
            out.print(f"{finding.path}: {finding.what}")
        out.print(
            f"{report.files:,} files; {report.lost} lost, {report.doubled} doubled, {report.unreadable} unreadable,"
            f" {report.misplaced} misplaced."
        )
    if not report.healthy:
        raise typer.Exit(1)
