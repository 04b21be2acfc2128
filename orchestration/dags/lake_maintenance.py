"""Daily: is the lake whole, and what is in it that nobody needs any more?"""

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
    """Verify, then prune."""

    @task
    def prune() -> dict[str, Any]:
        """Remove files that no table knows and that are older than a week."""
        return playlake("lake", "prune")

    @task
    def tell(report: dict[str, Any], pruned: dict[str, Any]) -> int:
        """Alert that all went well."""
        removed = sum(pruned["removed"].values())
        return tell_success("lake_maintenance", f"{report['files']:,} files, nothing lost or doubled; {removed} pruned")

    report, pruned = task(verify)(), prune()  # what is wrong is looked at before anything is removed
    report >> pruned
    tell(report, pruned)


lake_maintenance()
