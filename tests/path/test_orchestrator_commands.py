"""The commands that an orchestrator calls between its steps: what is new, what arrived, a build in stages, pruning."""

from __future__ import annotations

import json
import os
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from playlake import events
from playlake.broker import Producer
from playlake.lake.options import storage_options
from playlake.lake.table import Table
from playlake.stack import ports
from playlake.warehouse.build import alone
from tests.support.commands import Cli, end
from tests.support.lakes import assert_whole, parquet_files
from tests.support.waiting import wait_for

STAGES = ("silver", "silver-tests", "gold", "gold-tests", "recommendations", "publish")


def test_what_is_new_waits_arrives_and_is_refused(cli: Cli) -> None:
    cli("land", "--until-idle")  # what other tests have sent
    before = cli.json("lake", "arrived")["versions"]
    assert cli.json("lake", "pending", "--check") == {
        "pending": 0,
        "by_topic": dict.fromkeys(events.TOPICS, 0),
        "oldest_s": None,
        "withheld": [],
        "problem": None,
    }
    began = time.time()
    sent = cli.json("simulate", "--plays", "300", "--listeners", "5", "--seed", "41")
    with Producer(cli.settings()) as producer:
        producer.send(events.PLAYS, "someone", b"no event")
    waits = cli.json("lake", "pending")
    assert waits["pending"] == sent["produced"] + 1
    assert waits["by_topic"][events.SKIPS] == sent["by_topic"][events.SKIPS]
    assert 0 <= waits["oldest_s"] <= time.time() - began + 1
    stale = cli.with_settings(max_lag_s=0.001)("lake", "pending", "--check", "--json", check=1)
    assert "The lake is stale" in stale.json["problem"]
    assert stale.json["pending"] == waits["pending"]
    cli("land", "--until-idle")
    since = json.dumps(before)
    found = cli.json("lake", "arrived", "--since", since, "--check")
    assert (found["total"], found["refused"]) == (sent["produced"] + 1, 1)
    assert found["arrived"]["bronze/plays"] == sent["by_topic"][events.PLAYS]
    strict = cli.with_settings(max_refused_share=0.0001)("lake", "arrived", "--since", since, "--check", check=1)
    assert f"1 of {sent['produced'] + 1:,} messages were refused" in strict.err
    assert cli.json("lake", "arrived", "--since", json.dumps(found["versions"]))["total"] == 0


def test_arrivals_are_counted_though_the_files_of_then_are_gone(cli: Cli) -> None:
    """A DAG that was paused for longer than replaced files are kept must not fail for ever; nor the log's entries."""
    own = cli.with_settings(s3_bucket=f"kept-{uuid.uuid4().hex[:8]}")
    own("land", "--until-idle")  # what others sent
    for seed in (1, 2):
        own.json("simulate", "--plays", "100", "--seed", str(seed))
        own("land", "--until-idle")
    before = own.json("lake", "arrived")
    settings = own.settings()
    table = DeltaTable(f"s3://{settings.s3_bucket}/bronze/plays", storage_options=storage_options(settings))
    at = table.version()
    table.optimize.compact()
    assert table.vacuum(0, dry_run=False, enforce_retention_duration=False), "the files of then are gone"
    sent = own.json("simulate", "--plays", "50", "--seed", "3")
    own("land", "--until-idle")
    since = json.dumps(before["versions"])
    found = own.json("lake", "arrived", "--since", since)
    assert (found["total"], found["forgotten"]) == (sent["produced"], [])
    table.update_incremental()
    table.create_checkpoint()
    store, _ = parquet_files(own, "bronze/plays")
    for version in range(at + 1):
        store.rm_file(f"{settings.s3_bucket}/bronze/plays/_delta_log/{version:020}.json")
    found = own.json("lake", "arrived", "--since", since)
    assert found["forgotten"] == ["bronze/plays"]
    assert found["arrived"]["bronze/plays"] == before["arrived"]["bronze/plays"] + sent["by_topic"][events.PLAYS]
    assert "counted whole" in own("lake", "arrived", "--since", since).err


@pytest.mark.parametrize(
    ("since", "says"),
    [
        ("seven", "no table versions"),
        ('{"bronze/plays": "1"}', "no table versions"),
        ('{"bronze/songs": 1}', "is no table of the lake"),
        ('{"bronze/plays": 99999}', "has no version 99999"),
    ],
)
def test_versions_that_are_none(cli: Cli, since: str, says: str) -> None:
    assert says in cli("lake", "arrived", "--since", since, check=2).err


def test_a_lake_without_a_bucket_is_empty(cli: Cli) -> None:
    fresh = cli.with_settings(s3_bucket=f"fresh-{uuid.uuid4().hex[:8]}")
    assert fresh.json("lake", "arrived")["total"] == 0
    other = cli.with_settings(s3_bucket=f"fresh-{uuid.uuid4().hex[:8]}")
    assert other.json("lake", "pending")["pending"] == cli.json("lake", "verify")["partitions"][0]["in_log"] + sum(
        p["in_log"] for p in cli.json("lake", "verify")["partitions"][1:]
    )


def test_a_build_in_stages_is_published_at_its_end_only(cli: Cli) -> None:
    def stage(name: str, build: str) -> Any:
        return cli.json("build", "--stage", name, "--of", build)

    cli.json("simulate", "--plays", "200", "--listeners", "4", "--seed", "42")
    cli("land", "--until-idle")
    older = cli.json("build", "--stage", "begin")["build"]
    begun = cli.json("build", "--stage", "begin")
    # A newer build takes over from an older one.
    superseded = cli("build", "--stage", "silver", "--of", older, "--json", check=1)
    assert superseded.json["kind"] == "SupersededError"
    assert "is not the latest" in superseded.err
    # A stage that runs again asks for those after it.
    for name in ("silver", "silver-tests"):
        stage(name, begun["build"])
    assert list(stage("silver", begun["build"])["done"]) == ["silver"]
    for name in STAGES[1:-1]:
        refused = cli("build", "--stage", "publish", "--of", begun["build"], check=2)
        assert f"has not passed its stage {name}" in refused.err
        assert cli.json("status")["build"] is None
        stage(name, begun["build"])
    built = stage("publish", begun["build"])
    assert (built["version"], built["versions"]) == (1, begun["versions"])
    assert cli.json("build", "--stage", "begin")["build"] is None, "nothing is new"
    served = cli.json("wait", "--build", "1")
    assert served["metrics"]["total_plays"] == built["silver"]["silver_plays"] >= 200
    assert "is not served" in cli("wait", "--build", "2", "--for", "1s", check=1).err
    # The same lake built in one call has the same rows and tests: tests/models/test_stages.py compares the selections.
    assert built["tests"] > 60


def test_a_stage_waits_for_another_build_and_says_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.json("simulate", "--plays", "50", "--listeners", "3", "--seed", "46")
    cli("land", "--until-idle")
    monkeypatch.setattr("playlake.warehouse.build._PATIENCE_S", 0.1)
    with alone(cli.settings()):
        assert f"is running (process {os.getpid()}). One build at a time" in cli("build", check=1).err
        waited = cli("build", "--stage", "begin", check=1)
    assert "waiting for another build to end" in waited.err
    assert "One build at a time" in waited.err
    assert cli.json("build", "--stage", "begin")["build"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--stage", "bronze"), "is no stage of a build"),
        (("--stage", "silver"), "needs that name in --of"),
        (("--stage", "begin", "--of", "x"), "names a new build"),
        (("--of", "x"), "--of goes with --stage"),
        (("--stage", "silver", "--of", "never-begun"), "There is no build 'never-begun'"),
    ],
)
def test_stages_used_wrongly(cli: Cli, arguments: tuple[str, ...], says: str) -> None:
    assert says in cli("build", *arguments, check=2).err


def test_files_that_no_table_knows_are_pruned_and_nothing_else(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.json("simulate", "--plays", "100", "--listeners", "3", "--seed", "46")
    cli("land", "--until-idle")
    filesystem, files = parquet_files(cli, "bronze/plays")
    known = files[0]
    orphan = f"{known.rpartition('/')[0]}/left-by-a-writer-that-died.parquet"
    filesystem.copy(known, orphan)
    assert sum(cli.json("lake", "prune", "--older-than", "1h")["removed"].values()) == 0, "it is too young"
    assert filesystem.exists(orphan)
    for young in ("30s", "0s"):
        assert "an hour or more" in cli("lake", "prune", "--older-than", young, check=2).err
    # An hour later, which nobody waits for.
    prune = Table.prune
    monkeypatch.setattr(Table, "prune", lambda self, hours, **given: prune(self, 0, **given))
    assert wait_for(lambda: cli.json("lake", "prune", "--dry-run")["removed"]["bronze/plays"]) == 1
    assert filesystem.exists(orphan)
    assert cli.json("lake", "prune")["removed"]["bronze/plays"] == 1
    filesystem.invalidate_cache()
    assert not filesystem.exists(orphan)
    assert set(parquet_files(cli, "bronze/plays")[1]) == set(files)
    assert_whole(cli)


def test_serving_says_one_thing_on_standard_output(tmp_path: Path) -> None:
    empty = Cli(tmp_path / "home")
    for name in ("dashboard", "api"):
        process = empty.start("serve", name, "--json")
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        wait_for(partial(ports.held_by, int(url.rpartition(":")[2]), process.pid))
        done = end(process)
        assert done.out == "", "the server's own words are not ours"
        assert "nothing has been built yet" in done.err
