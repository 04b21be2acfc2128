"""The DAGs run for real: what they bring to gold, alone, again and beside each other."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.commands import Cli
from tests.support.exports import age
from tests.support.lakes import assert_whole
from tests.support.webhook import Webhook
from tests.systems.orchestration.conftest import Dags, states


def test_an_export_in_the_inbox_comes_to_gold_once_and_people_are_told(dags: Dags, hook: Webhook) -> None:
    dags.cli.env["PLAYLAKE_ALERT_URLS"] = hook.url
    dags.drop(600, seed=21)
    (dags.inbox / "photo.jpg").write_bytes(b"\xff\xd8")
    age(dags.inbox / "photo.jpg")
    hour, next_hour = ("2026-03-01T00:00:00+00:00", "2026-03-01T01:00:00+00:00")
    ingested, built = dags.runs(f"spotify_ingestion@{hour}", f"warehouse_transformation@{hour}")
    assert ingested["state"] == "success"
    assert set(states(ingested).values()) == {"success"}
    assert set(states(built).values()) == {"success"}
    assert dags.in_gold == 600 - dags.refused
    told = [m["title"] for m in hook.told]
    assert told == ["spotify_ingestion succeeded", "warehouse_transformation succeeded"]
    assert f"{600 - dags.refused} rows in bronze/plays" in hook.told[0]["message"]
    assert "photo.jpg" in hook.told[0]["message"]
    # Nothing is new now: an hour and a day that are filled in again, and the next hour, land, build and tell nothing.
    whole = assert_whole(dags.cli)
    *hours, built = dags.runs(
        *(f"spotify_ingestion@{at}" for at in (hour, next_hour)), f"warehouse_transformation@{hour}"
    )
    for ingested in hours:
        assert {n for n, s in states(ingested).items() if s == "success"} == {
            *("fetch_new", "last_announced", "anything_new"),
        }
    assert set(states(built).values()) == {"skipped"}
    assert len(hook.told) == 2
    assert dags.in_gold == 600 - dags.refused
    assert assert_whole(dags.cli)["partitions"] == whole["partitions"]


def test_two_builders_at_once_do_not_hurt(dags: Dags, airflow_home: Path, tmp_path: Path) -> None:
    dags.drop(400, seed=25)
    dags.cli.json("inbox")
    dags.cli("land", "--until-idle")
    other = Dags(tmp_path / "other", Cli(dags.cli.home))
    other.home.mkdir()
    shutil.copy(airflow_home / "airflow.db", other.home)
    for one in (dags, other):
        one.extra["ORCHESTRATION_RETRY_DELAY_S"] = "5"
    dags.begin("warehouse_transformation")
    time.sleep(4)
    other.begin("warehouse_transformation")
    with ThreadPoolExecutor() as both:  # one that nobody hears stands still
        (one,), (two,) = both.map(Dags.ended, (dags, other))
    # Whoever began last publishes; the other skips what it has left, and neither fails.
    assert {one["state"], two["state"]} == {"success"}
    assert "success" in {states(one)["publish"], states(two)["publish"]}
    assert set(states(one).values()) | set(states(two).values()) <= {"success", "skipped"}
    assert dags.in_gold == 400 - dags.refused
