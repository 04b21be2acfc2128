"""The commands that an orchestrator calls between its steps: what is new, what arrived, a build in stages, pruning."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import filelock
import pytest
from deltalake import DeltaTable

from playlake import events
from playlake.broker import Producer
from playlake.lake.options import storage_options
from playlake.settings import ROOT
from playlake.warehouse.stages import COMMANDS
from tests.support.commands import Cli, end
from tests.support.lakes import assert_whole, parquet_files
from tests.support.waiting import wait_for

STAGES = ("silver", "silver-tests", "gold", "gold-tests", "recommendations", "publish")


def test_what_is_new_waits_arrives_and_is_refused(cli: Cli) -> None:
    before = cli.json("lake", "arrived")["versions"]
    assert cli.json("lake", "pending", "--check") == {
        "pending": 0,
        "by_topic": dict.fromkeys(events.TOPICS, 0),
        "oldest_s": None,
        "problem": None,
    }
    sent = cli.json("simulate", "--plays", "300", "--listeners", "5", "--seed", "41")
    with Producer(cli.settings()) as producer:
        producer.send(events.PLAYS, "someone", b"no event")
    waits = cli.json("lake", "pending")
    assert waits["pending"] == sent["produced"] + 1
    assert waits["by_topic"][events.SKIPS] == sent["by_topic"][events.SKIPS]
    assert 0 <= waits["oldest_s"] < 60
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
    cli.json("simulate", "--plays", "200", "--listeners", "4", "--seed", "42")
    cli("land", "--until-idle")
    before = cli.json("build")
    cli.json("simulate", "--plays", "250", "--listeners", "4", "--seed", "43")
    cli("land", "--until-idle")
    begun = cli.json("build", "--stage", "begin")
    done = {}
    for stage in STAGES:
        assert cli.json("status")["build"]["version"] == before["version"]
        if stage == "gold":
            assert (
                "has not passed its stage gold"
                in cli("build", "--stage", "publish", "--of", begun["build"], check=2).err
            )
        done[stage] = cli.json("build", "--stage", stage, "--of", begun["build"])
    built = done["publish"]
    assert built["version"] == before["version"] + 1
    assert built["versions"] == begun["versions"]
    assert built["tests"] == before["tests"]  # each test of the whole build, once
    assert built["silver"]["silver_plays"] > before["silver"]["silver_plays"]
    assert cli.json("build", "--stage", "begin")["build"] is None
    assert (
        cli.json("wait", "--build", str(built["version"]))["metrics"]["total_plays"] == built["silver"]["silver_plays"]
    )
    assert "is not served" in cli("wait", "--build", str(built["version"] + 1), "--for", "1s", check=1).err
    # Row for row what one call makes of the same lake.
    whole = cli.json("build")
    assert (whole["silver"], whole["gold"]) == (built["silver"], built["gold"])


def test_a_newer_build_takes_over(cli: Cli) -> None:
    cli.json("simulate", "--plays", "150", "--listeners", "4", "--seed", "44")
    cli("land", "--until-idle")
    older = cli.json("build", "--stage", "begin")["build"]
    cli.json("build", "--stage", "silver", "--of", older)
    newer = cli.json("build")
    done = cli("build", "--stage", "silver-tests", "--of", older, "--json", check=1)
    assert done.json["kind"] == "SupersededError"
    assert "is not the latest" in done.err
    assert cli.json("status")["build"]["version"] == newer["version"]


def test_a_stage_waits_for_another_build_and_says_so(cli: Cli) -> None:
    cli.json("simulate", "--plays", "100", "--listeners", "3", "--seed", "46")
    cli("land", "--until-idle")
    with filelock.FileLock(cli.home / "warehouse" / "build.lock"):
        assert "One build at a time" in cli("build", check=1).err
        waiting = cli.start("build", "--stage", "begin", "--json")
        assert waiting.stderr is not None
        said = iter(waiting.stderr.readline, "")
        assert any("waiting for another build to end" in line for line in said)
    out, _ = waiting.communicate(timeout=60)
    assert json.loads(out)["build"]


def test_a_stage_run_again_asks_for_those_after_it(cli: Cli) -> None:
    cli.json("simulate", "--plays", "150", "--listeners", "4", "--seed", "45")
    cli("land", "--until-idle")
    build = cli.json("build", "--stage", "begin")["build"]
    for stage in ("silver", "silver-tests", "gold", "silver"):
        done = cli.json("build", "--stage", stage, "--of", build)
    assert list(done["done"]) == ["silver"]
    assert "has not passed its stage silver-tests" in cli("build", "--stage", "gold", "--of", build, check=2).err


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


def test_every_model_and_test_is_in_one_stage(cli: Cli, tmp_path: Path) -> None:
    """Asked of dbt itself: the stages together select what the whole build runs, and nothing twice."""
    kinds = {"run": ("model",), "test": ("test",), "build": ("model", "test")}
    stages = [(kind, select) for command, *select in COMMANDS.values() for kind in kinds[command]]
    questions = [["--resource-type", kind, *select] for kind, select in [*stages, ("model", []), ("test", [])]]
    code = (
        "import json, sys\nfrom dbt.cli.main import dbtRunner\n"
        "ls = ['--quiet', 'ls', *sys.argv[2:]]\n"
        "print(json.dumps([dbtRunner().invoke([*ls, *select]).result for select in json.loads(sys.argv[1])]))"
    )
    places = {"--project-dir": ROOT / "dbt", "--profiles-dir": ROOT / "dbt", "--target-path": tmp_path}
    command = [sys.executable, "-c", code, json.dumps(questions), "--log-path", str(tmp_path)]
    done = subprocess.run(
        [*command, *(str(word) for pair in places.items() for word in pair)],
        capture_output=True,
        text=True,
        env={**cli.env, "DO_NOT_TRACK": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *of_stages, models, tests = json.loads(done.stdout.splitlines()[-1])
    whole = [*models, *tests]
    assert sorted(node for stage in of_stages for node in stage) == sorted(whole)
    assert len(whole) > 100


def test_files_that_no_table_knows_are_pruned_and_nothing_else(cli: Cli) -> None:
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
    # An hour later: the clock of the process that prunes is set forward, since nobody waits that long.
    code = (
        "import os, sys; from playlake.lake.table import Table; t = Table.prune;"
        "Table.prune = lambda self, hours, **k: t(self, 0, **k); from playlake.cli import main; main()"
    )
    time.sleep(1.1)
    dry = subprocess.run(
        [sys.executable, "-c", code, "lake", "prune", "--dry-run", "--json"],
        env=cli.env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(dry.stdout)["removed"]["bronze/plays"] == 1
    assert filesystem.exists(orphan)
    done = subprocess.run(
        [sys.executable, "-c", code, "lake", "prune", "--json"], env=cli.env, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["removed"]["bronze/plays"] == 1
    filesystem.invalidate_cache()
    assert not filesystem.exists(orphan)
    assert set(parquet_files(cli, "bronze/plays")[1]) == set(files)
    assert_whole(cli)


def test_serving_says_one_thing_on_standard_output(cli: Cli, tmp_path: Path) -> None:
    empty = Cli(tmp_path / "home")
    for name in ("dashboard", "api"):
        process = empty.start("serve", name, "--json")
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        port = int(url.rpartition(":")[2])

        def listens(port: int = port) -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_for(listens)
        time.sleep(1)
        done = end(process)
        assert done.out == "", "the server's own words are not ours"
        assert "nothing has been built yet" in done.err
    assert os.environ.get("PLAYLAKE_HOME") is None
