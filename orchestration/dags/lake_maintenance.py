"""Daily: is the lake whole, are its many small files few large ones, and what in it does nobody need any more?"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task
from playlake_orchestration import DEFAULTS, START, playlake, tell_success, verify


@dag(
    schedule="@daily",
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["playlake"],
    doc_md=__doc__,
)
def lake_maintenance() -> None:
    """Verify, compact, then prune."""

    @task
    def compact() -> dict[str, Any]:
        """Make few large files of the small ones of hours that are over; readers see no difference."""
        return playlake("lake", "compact")

    @task
    def prune() -> dict[str, Any]:
        """Remove files that no table knows and that are older than a week."""
        return playlake("lake", "prune")

    @task
    def tell(report: dict[str, Any], compacted: dict[str, Any], pruned: dict[str, Any]) -> int:
        """Alert that all went well."""
        tables = compacted["compacted"].values()
        before, after = (sum(t[name] for t in tables) for name in ("files_before", "files_after"))
        removed = sum(pruned["removed"].values())
        return tell_success(
            "lake_maintenance",
            f"{report['files']:,} files, nothing lost or doubled; {before:,} became {after:,}; {removed:,} pruned",
        )

    # What is wrong is looked at before anything is rewritten or removed.
    report, compacted, pruned = task(verify)(), compact(), prune()
    report >> compacted >> pruned
    tell(report, compacted, pruned)


lake_maintenance()
