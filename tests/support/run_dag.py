"""Run DAGs for real with ``dag.test()``, in Airflow's environment, as long as it is asked to: starting takes seconds.

One JSON object a line of standard input: ``dags`` are ``DAG_ID[@LOGICAL_DATE]``, run one after the other, ``env`` what
the environment is to have from now on. The last line of standard output after each is a list with one object a run: its
state, and the state and number of tries of each task.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime

from airflow.configuration import conf
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session


def main() -> None:
    """Answer until nothing more is asked."""
    folder = conf.get("core", "dags_folder")
    bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")
    assert not bag.import_errors, bag.import_errors
    for line in iter(sys.stdin.readline, ""):
        asked = json.loads(line)
        os.environ.update(asked["env"])
        print("\n" + json.dumps([ran(bag, name) for name in asked["dags"]]), flush=True)


def ran(bag: BundleDagBag, name: str) -> dict[str, object]:
    """How a run has ended."""
    dag_id, _, date = name.partition("@")
    dag = bag.dags[dag_id]
    run = dag.test(logical_date=datetime.fromisoformat(date)) if date else dag.test()
    with create_session() as session:
        tasks = session.query(TaskInstance).filter_by(dag_id=dag_id, run_id=run.run_id).all()
        return {
            "state": str(run.state),
            "tasks": {t.task_id: {"state": str(t.state), "tries": t.try_number} for t in tasks},
        }


main()
