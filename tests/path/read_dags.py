"""Import folders of DAGs in Airflow's environment and print one JSON object: the DAGs, what importing them touched, and
what Airflow's connections set."""

from __future__ import annotations

import json
import sys

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


def read(folder: str) -> dict[str, object]:
    """The DAGs of a folder, imported with an eye on what that touches."""
    global watching
    touched.clear()
    watching = True
    bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")
    watching = False
    dags = {name: described(dag) for name, dag in bag.dags.items()}
    return {"errors": bag.import_errors, "touched": list(touched), "dags": dags}


folders = [read(folder) for folder in sys.argv[1:]]
from playlake_orchestration import connections  # noqa: E402 - imported by the DAGs, it would not be seen

print("\n" + json.dumps({"folders": folders, "variables": connections.variables()}))
