"""What every task has: three more tries, a limit of time, and a word to people when all of them have failed."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowException

from playlake_orchestration.command import playlake

_log = logging.getLogger(__name__)

BRONZE_PLAYS = Asset("bronze_plays")
"""Plays in the lake. An event's extra has the ``versions`` of all tables that the run left behind, and ``rows``."""

START = datetime(2026, 1, 1, tzinfo=UTC)


def tell_failure(context: Any) -> None:
    """Alert that a task has failed for good."""
    task = context["ti"]
    why = context.get("exception") or "it was ended"
    text = f"run {context.get('run_id') or task.run_id}, try {task.try_number}: {why}"
    try:
        playlake("alert", "failure", f"{task.dag_id}: {task.task_id} failed", "--text", text)
    except Exception as error:  # noqa: BLE001 - the alert is told in the log at least; the task has failed anyway
        _log.error("the alert was not sent: %s", error)


def tell_success(dag_id: str, text: str) -> int:
    """Alert that a run ended well. Returns how many addresses took it.

    An alert that can't be delivered is an error in this task's log, and does not make a good run a bad one.
    """
    try:
        return int(playlake("alert", "success", f"{dag_id} succeeded", "--text", text)["sent"])
    except AirflowException as error:
        _log.error("the alert was not sent: %s", error)
        return 0


DEFAULTS: dict[str, Any] = {
    "retries": 3,
    "retry_delay": timedelta(seconds=float(os.environ.get("ORCHESTRATION_RETRY_DELAY_S", "300"))),
    "execution_timeout": timedelta(minutes=30),
    "on_failure_callback": tell_failure,
}
"""``default_args`` of every DAG."""
