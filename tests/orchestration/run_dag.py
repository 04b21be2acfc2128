"""Run DAGs for real with ``dag.test()``, in Airflow's environment: ``run_dag.py DAG_ID[@LOGICAL_DATE] …``.

The last line of standard output is one JSON object a run: its state, and the state and number of tries of each task.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime

from airflow.configuration import conf
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session


def main() -> None:
    """Run one after the other."""
    folder = conf.get("core", "dags_folder")
    bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")
    assert not bag.import_errors, bag.import_errors
    ended = []
    for name, _, date in (argument.partition("@") for argument in sys.argv[1:]):
        dag = bag.dags[name]
        run = dag.test(logical_date=datetime.fromisoformat(date)) if date else dag.test()
        with create_session() as session:
            tasks = session.query(TaskInstance).filter_by(dag_id=name, run_id=run.run_id).all()
            found = {t.task_id: {"state": str(t.state), "tries": t.try_number} for t in tasks}
        ended.append({"state": str(run.state), "tasks": found})
    print("\n" + json.dumps(ended))


main()
