"""Each of the three DAGs, run for real by ``dag.test()`` on the embedded stack."""

from __future__ import annotations

from tests.support.exports import age
from tests.support.lakes import assert_whole
from tests.support.orchestration import Dags, states
from tests.support.post_server import Webhook

HOUR = "2026-03-01T00:00:00+00:00"


def test_an_export_in_the_inbox_comes_to_gold_once_and_alerts_say_so(dags: Dags, hook: Webhook) -> None:
    dags.cli.env["PLAYLAKE_ALERT_URLS"] = hook.url
    dags.drop(600, seed=21)
    (dags.inbox / "photo.jpg").write_bytes(b"\xff\xd8")
    age(dags.inbox / "photo.jpg")
    ingested, built, kept = dags.runs(
        f"spotify_ingestion@{HOUR}", f"warehouse_transformation@{HOUR}", f"lake_maintenance@{HOUR}"
    )
    for run in (ingested, built, kept):
        assert (run["state"], set(states(run).values())) == ("success", {"success"})
    assert dags.in_gold == 600 - dags.refused
    assert [m["title"] for m in hook.messages] == [
        *("spotify_ingestion succeeded", "warehouse_transformation succeeded", "lake_maintenance succeeded"),
    ]
    assert f"{600 - dags.refused} rows in bronze/plays" in hook.messages[0]["message"]
    assert "photo.jpg" in hook.messages[0]["message"]
    # The same hour again: nothing is new, so nothing is landed, built or said.
    whole = assert_whole(dags.cli)
    ingested, built = dags.runs(f"spotify_ingestion@{HOUR}", f"warehouse_transformation@{HOUR}")
    assert {n for n, s in states(ingested).items() if s == "success"} == {"fetch_new", "last_announced", "anything_new"}
    assert set(states(built).values()) == {"skipped"}
    assert len(hook.messages) == 3
    assert dags.in_gold == 600 - dags.refused
    assert assert_whole(dags.cli)["partitions"] == whole["partitions"]
