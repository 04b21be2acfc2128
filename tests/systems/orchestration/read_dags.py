"""Import the DAGs with input and output forbidden, and print what they are: one JSON object."""

from __future__ import annotations

import json
import sys

from airflow.configuration import conf
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.sdk import AssetOrTimeSchedule

FORBIDDEN = ("socket.connect", "socket.bind", "subprocess.Popen", "os.system", "os.exec", "os.remove", "os.mkdir")
touched: list[str] = []
watching = False


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook (PEP 578): note what an import must not do."""
    if watching and (event in FORBIDDEN or (event == "open" and set(str(arguments[1])) & set("wax+"))):
        touched.append(f"{event} {arguments!r}")


sys.addaudithook(watch)
folder = conf.get("core", "dags_folder")
watching = True
bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")
watching = False


def described(dag: object) -> dict[str, object]:
    """What a test may want to know."""
    tasks = {
        t.task_id: {
            "after": sorted(t.upstream_task_ids),
            "retries": t.retries,
            "delay_s": t.retry_delay.total_seconds(),
            "alerts": bool(t.on_failure_callback),
            "limit_s": t.execution_timeout.total_seconds(),
            "outlets": [o.name for o in t.outlets],
        }
        for t in dag.tasks
    }
    return {
        "timetable": type(dag.timetable).__name__,
        "cron": getattr(getattr(dag.timetable, "timetable", dag.timetable), "expression", None),
        "assets": [asset.name for asset in dag.timetable.asset_condition.objects]
        if isinstance(dag.timetable, AssetOrTimeSchedule)
        else [],
        "at_once": dag.max_active_runs,
        "catchup": dag.catchup,
        "tasks": tasks,
    }


print(
    "\n"
    + json.dumps(
        {"errors": bag.import_errors, "touched": touched, "dags": {n: described(d) for n, d in bag.dags.items()}}
    )
)
