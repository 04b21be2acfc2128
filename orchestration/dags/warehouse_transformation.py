"""When bronze plays have changed, and every six hours: silver, gold and recommendations, published if all tests pass.

One builder at a time: a build that begins takes over, and what an older one has left to do is skipped, as the newer
one has the same data or more. Nothing is published before its tests have passed.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from playlake_orchestration import BRONZE_PLAYS, DEFAULTS, START, playlake, tell_success


@dag(
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 */6 * * *", timezone="UTC"), assets=[BRONZE_PLAYS]),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["playlake"],
    doc_md=__doc__,
)
def warehouse_transformation() -> None:
    """Begin a build, run its stages, publish, see that it is served."""

    @task
    def new_data() -> str:
        """Begin a build of the lake as it is now, unless that is what is published already."""
        build = playlake("build", "--stage", "begin")["build"]
        if build is None:
            raise AirflowSkipException("The published build has all that is in the lake.")
        return str(build)

    def stage(name: str) -> Any:
        @task(task_id=name.replace("-", "_"))
        def run(build: str) -> dict[str, Any]:
            return playlake("build", "--stage", name, "--of", build)

        run.__doc__ = f"The stage {name} of the build."
        return run

    @task
    def refresh_dashboard(built: dict[str, Any]) -> dict[str, Any]:
        """See that the pages read the new build, and what they show now."""
        return playlake("wait", "--build", str(built["version"]), "--for", "1m")

    @task
    def tell(built: dict[str, Any], served: dict[str, Any]) -> int:
        """Alert that all went well."""
        return tell_success(
            "warehouse_transformation",
            f"build {built['version']}: {served['plays']:,} plays, {built['tests']} tests passed",
        )

    build = new_data()
    stages = [
        stage(name)(build) for name in ("silver", "silver-tests", "gold", "gold-tests", "recommendations", "publish")
    ]
    for before, after in zip([build, *stages], stages, strict=False):
        before >> after
    built = stages[-1]
    tell(built, refresh_dashboard(built))


warehouse_transformation()
