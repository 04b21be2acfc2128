"""`playlake dbt` beside `playlake build`: by hand dbt has the settings, and no build takes its tables for its own."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from tests.support.commands import Cli

ZONE = "America/Los_Angeles"
DAYS = "select user_id, date, total_plays from gold.user_daily_listening order by all"


def rows(path: Any, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def built(cli: Cli) -> Cli:
    """A lake with a build, whose days are those of Los Angeles."""
    cli.env["PLAYLAKE_TIME_ZONE"] = ZONE
    cli("simulate", "--plays", "1500", "--listeners", "8", "--days", "30")
    cli("land", "--until-idle")
    cli("build")
    return cli


def published(cli: Cli) -> list[tuple[Any, ...]]:
    return rows(max((cli.home / "warehouse" / "published").glob("gold-*.duckdb")), DAYS)


def test_by_hand_dbt_has_the_settings_and_the_next_build_makes_everything_anew(built: Cli) -> None:
    work = built.home / "warehouse" / "spotify_data.duckdb"
    wanted = published(built)
    quiet = built("dbt", "ls", "--resource-type", "model", "--quiet")
    assert "makes all tables anew" not in quiet.err
    assert built.json("build", "--stage", "begin")["build"] is None

    done = built("dbt", "run", "--full-refresh", "--select", "+user_daily_listening")
    assert rows(work, DAYS) == wanted
    assert [line for line in done.err.splitlines() if "playlake build" in line] == [
        "playlake: dbt is run by hand: the next `playlake build` makes all tables anew, since no build made these."
    ]

    # What --vars say counts, and no build publishes it: also not one that is under way in stages.
    begun = built.json("build", "--stage", "begin")["build"]
    built("build", "--stage", "silver", "--of", begun)
    tokyo = built(
        "dbt", "run", "--select", "+user_daily_listening", "--full-refresh", "--vars", "{time_zone: Asia/Tokyo}"
    )
    assert "makes all tables anew" in tokyo.err
    assert rows(work, DAYS) != wanted
    stopped = built("build", "--stage", "silver-tests", "--of", begun, check=2)
    assert "has not passed its stage silver" in stopped.err
    before = built.json("build")["version"]
    assert published(built) == rows(work, DAYS) == wanted

    # What was taken back is no news; a build that is asked for builds.
    gone_back = built("build", "--rollback")
    assert f"Build {before - 1} of" in gone_back.out
    assert "`playlake build`, which builds at once" in " ".join(gone_back.out.split())
    assert built.json("build", "--stage", "begin")["build"] is None
    assert built.json("build")["version"] == before + 1
    assert built.json("build", "--rollback")["version"] == before - 1
