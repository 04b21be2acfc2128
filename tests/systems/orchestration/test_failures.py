"""The DAGs run for real where something is wrong: what stops, what is tried again, and who is told."""

from __future__ import annotations

import uuid

from playlake import events
from playlake.broker import Producer
from tests.support.lakes import parquet_files
from tests.support.webhook import Webhook
from tests.systems.orchestration.conftest import Dags, states


def test_a_task_that_fails_is_tried_three_times_more_and_then_alerts(dags: Dags, hook: Webhook) -> None:
    dags.cli.env["PLAYLAKE_ALERT_URLS"] = hook.url
    dags.cli.env["PLAYLAKE_KAFKA_TIMEOUT_S"] = "1"
    dags.cli.kill("broker")
    try:
        run = dags.run("spotify_ingestion")
    finally:
        dags.cli("up")
    assert run["state"] == "failed"
    assert run["tasks"]["anything_new"] == {"state": "failed", "tries": 4}
    assert states(run)["announce"] == "upstream_failed"
    assert [m["title"] for m in hook.told] == ["spotify_ingestion: anything_new failed"]
    assert "does not answer" in hook.told[0]["message"]
    assert hook.told[0]["type"] == "failure"


def test_wrong_use_is_not_tried_again(dags: Dags) -> None:
    dags.cli.env["PLAYLAKE_FLUSH_ROWS"] = "none"
    run = dags.run("lake_maintenance")
    assert run["tasks"]["verify"] == {"state": "failed", "tries": 1}


def test_what_others_have_landed_is_announced_and_too_much_refused_stops_before_that(dags: Dags, hook: Webhook) -> None:
    dags.extra["ORCHESTRATION_RETRY_DELAY_S"] = "0"
    dags.cli.env["PLAYLAKE_ALERT_URLS"] = hook.url
    dags.drop(50, seed=24)
    dags.cli.json("inbox")
    dags.cli("land", "--until-idle")  # as a writer that always runs
    assert dags.cli.json("lake", "pending")["pending"] == 0
    assert states(dags.run("spotify_ingestion"))["announce"] == "success"
    with Producer(dags.cli.settings()) as producer:
        for number in range(40):
            producer.send(events.PLAYS, "someone", f"no event {number}".encode())
    run = dags.run("spotify_ingestion")
    assert run["state"] == "failed"
    assert run["tasks"]["quality.refusals"] == {"state": "failed", "tries": 4}
    assert (states(run)["quality.verify"], states(run)["announce"]) == ("success", "upstream_failed")
    assert hook.told[-1]["title"] == "spotify_ingestion: quality.refusals failed"
    assert "40 of 40 messages were refused" in hook.told[-1]["message"]
    dags.cli.env["PLAYLAKE_MAX_REFUSED_SHARE"] = "1"  # somebody has looked at them
    assert states(dags.run("spotify_ingestion"))["announce"] == "success"


def test_maintenance_prunes_a_whole_lake_and_tells_of_one_that_is_not(dags: Dags, hook: Webhook) -> None:
    dags.cli.env |= {"PLAYLAKE_ALERT_URLS": hook.url, "PLAYLAKE_S3_BUCKET": f"broken-{uuid.uuid4().hex[:8]}"}
    dags.extra["ORCHESTRATION_RETRY_DELAY_S"] = "0"
    dags.cli("simulate", "--plays", "50")
    dags.cli("land", "--until-idle")
    run = dags.run("lake_maintenance")
    assert states(run) == dict.fromkeys(("verify", "compact", "prune", "tell"), "success")
    store, live = parquet_files(dags.cli, "bronze/plays")
    store.rm_file(live[0])
    run = dags.run("lake_maintenance")
    assert run["tasks"]["verify"] == {"state": "failed", "tries": 4}
    assert (states(run)["compact"], states(run)["prune"]) == ("upstream_failed", "upstream_failed")
    assert [m["title"] for m in hook.told] == ["lake_maintenance succeeded", "lake_maintenance: verify failed"]
    assert "1 unreadable" in hook.told[-1]["message"]
