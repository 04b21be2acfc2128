"""Hourly: what is new at the sources and in Kafka comes into the lake, and is checked there.

Running it again for any hour is safe, and so is running it beside a writer that is always on: what lands is decided by
the positions in the lake, and what is news by the tables' versions that the last run announced.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Any

from airflow.sdk import dag, get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowException
from playlake_orchestration import BRONZE_PLAYS, DEFAULTS, START, playlake, tell_success, verify

SOURCES = {"inbox": ("inbox",)}
"""By source of listening, the command that fetches what is new there."""

LAND_FOR = os.environ.get("ORCHESTRATION_LAND_FOR", "5m")


@dag(
    schedule="@hourly",
    start_date=START,
    catchup=False,  # a missed hour needs no run of its own: the next one goes on where the lake is
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["playlake"],
    doc_md=__doc__,
)
def spotify_ingestion() -> None:
    """Fetch, land, check, announce."""

    @task
    def fetch_new() -> dict[str, Any]:
        """Bring what is new at each source into Kafka. What can't be read gets a receipt, and is told at the end."""
        return {name: playlake(*command, accept=(0, 1)) for name, command in SOURCES.items()}

    @task(inlets=[BRONZE_PLAYS])
    def last_announced() -> dict[str, int]:
        """The table versions that the last run announced; none before the first, or when the lake was made anew."""
        events = get_current_context()["inlet_events"][BRONZE_PLAYS].ascending(False).limit(1)
        since = dict(events[0].extra.get("versions", {})) if len(events) else {}
        now = playlake("lake", "arrived")["versions"]
        return since if all(0 <= version <= now.get(table, -1) for table, version in since.items()) else {}

    @task.short_circuit
    def anything_new(since: dict[str, int]) -> bool:
        """Whether anything waits in Kafka, or has been landed by others and not been announced yet."""
        return bool(playlake("lake", "pending")["pending"] or _arrived(since)["total"])

    @task(execution_timeout=timedelta(minutes=20))
    def land() -> dict[str, Any]:
        """Kafka to the lake, until nothing waits or the time is up."""
        return playlake("land", "--until-idle", "--for", LAND_FOR)

    @task
    def rows_arrived(since: dict[str, int]) -> dict[str, Any]:
        """What the tables' versions say has arrived."""
        found = _arrived(since)
        if not found["total"]:
            raise AirflowException("There was something in Kafka, and nothing has arrived in the lake.")
        return found

    @task_group
    def quality(since: dict[str, int]) -> None:
        """Log against lake, freshness, and how much was refused."""

        @task
        def fresh() -> dict[str, Any]:
            """Nothing waits in Kafka for longer than is allowed."""
            return playlake("lake", "pending", "--check")

        @task
        def refusals(since: dict[str, int]) -> dict[str, Any]:
            """No more was refused than is allowed."""
            return playlake("lake", "arrived", "--check", "--since", json.dumps(since))

        task(verify)()
        fresh()
        refusals(since)

    @task(outlets=[BRONZE_PLAYS])
    def announce(found: dict[str, Any]) -> None:
        """Tell those who build on the lake that it has changed."""
        extra = {"versions": found["versions"], "rows": found["arrived"]}
        get_current_context()["outlet_events"][BRONZE_PLAYS].extra = extra

    @task
    def tell(fetched: dict[str, Any], found: dict[str, Any]) -> int:
        """Alert that all went well, and what could not be read."""
        text = ", ".join(f"{rows:,} rows in {table}" for table, rows in found["arrived"].items() if rows)
        bad = [
            f"{one['name']}: {one['error'] or 'damaged, see its receipt'}"
            for result in fetched.values()
            for one in result["imported"]
            if one["error"] or one["damaged"]
        ]
        return tell_success("spotify_ingestion", "; ".join([text, *bad]))

    fetched, since = fetch_new(), last_announced()
    new, landed, found = anything_new(since), land(), rows_arrived(since)
    announced = announce(found)
    fetched >> since >> new >> landed >> found >> quality(since) >> announced >> tell(fetched, found)


def _arrived(since: dict[str, int]) -> dict[str, Any]:
    return playlake("lake", "arrived", "--since", json.dumps(since))


spotify_ingestion()
