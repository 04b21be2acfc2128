"""A build that takes up what is new gives the tables that a build from bronze gives, row for row."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from playlake import events
from playlake.sources.simulator import Simulation, Simulator
from tests.models.warehouse import NOW, TOPICS, Warehouse, differences, play

YEAR = timedelta(days=365)


def moved(event: events.Event, by: timedelta) -> events.Event:
    """The same play at another time, which is another play."""
    times = {n: t + by for n in ("played_at", "started_at", "ended_at") if (t := getattr(event, n)) is not None}
    return msgspec.structs.replace(event, event_id=f"{event.event_id}{by}", **times)


def by_an_export(event: events.Event) -> events.Event:
    """The same play as an account export tells of it: to the minute, and with less to say."""
    ended = event.played_at.replace(second=0, microsecond=0)
    return msgspec.structs.replace(
        event,
        event_id=events.event_id("export_account", event.event_id),
        source="export_account",
        track_id=events.surrogate_track_id(event.artist_name, event.track_name),
        played_at=ended,
        ended_at=ended,
        started_at=None,
        time_precision_s=60.0,
        **dict.fromkeys(("duration_ms", "album_name", "device_type", "skipped")),
    )


@pytest.fixture(scope="module")
def made() -> dict[str, list[events.Event]]:
    """Two months of six listeners, by table of bronze."""
    tables = {topic: table for table, topic in TOPICS.items()}
    found = defaultdict(list)
    for topic, event in Simulator(Simulation(3000, 6, 60, 1, NOW)).events():
        found[tables[topic]].append(event)
    return found


@pytest.fixture(scope="module")
def steps(home: Path, made: dict[str, list[events.Event]]) -> dict[str, Any]:
    """Four builds, and one from nothing: the tables after each."""
    rng = random.Random(5)
    warehouse = Warehouse.at(home, time_zone="America/New_York")
    plays = made["plays"]
    late = rng.sample(plays, 300)
    in_time = [e for e in plays if e not in late]
    last_days = [e for e in in_time if e.played_at >= NOW - timedelta(days=2)]
    first = [e for e in in_time if e not in last_days]
    export = [by_an_export(e) for e in plays if e.user_id == plays[0].user_id]
    a_year_late = [moved(e, -YEAR) for e in late[:50]]
    rng.shuffle(late)
    tables = {}

    def build(name: str, **kwargs: Any) -> None:
        warehouse.run("run", **kwargs)
        tables[name] = warehouse.tables()

    warehouse.land(first)
    # At midnight, by two sources; and days later the same track by one of them.
    midnight = [
        play("2025-11-09T23:59:50", user_id="edge", source="listenbrainz"),
        play("2025-11-10T00:00:00", user_id="edge", source="export_account", time_precision_s=60.0, duration_ms=None),
    ]
    warehouse.land(midnight, partition=3)
    warehouse.land(made["skips"], "skips")
    build("first")
    warehouse.land(last_days)
    warehouse.land([play("2025-11-12T10:00:00", user_id="edge", source="listenbrainz")], partition=3)
    warehouse.land(made["likes"], "likes")
    build("more days")
    # Late, out of order, and twice, while another source begins to tell of the same plays; then the build fails.
    warehouse.land(late + late[:100] + first[:20])
    warehouse.land(export[: len(export) // 2], partition=1)
    build("late, not published", publish=False)
    warehouse.land([*a_year_late, *a_year_late], partition=2)
    warehouse.land(export[len(export) // 2 :], partition=1, topic_id="made anew")
    build("a year late")
    build("from nothing", full=True)
    return {**tables, "plays": len(plays) + len(a_year_late) + 2, "merged": len(export) + 1}


def test_a_build_from_nothing_gives_the_same_tables(steps: dict[str, Any]) -> None:
    assert differences(steps["a year late"], steps["from nothing"]) == {}
    assert len(steps["from nothing"]) > 20


def test_each_build_took_something_up(steps: dict[str, Any]) -> None:
    """The comparison above would mean nothing if the builds before had been full ones or had done nothing."""
    names = ["first", "more days", "late, not published", "a year late"]
    for before, after in itertools.pairwise(names):
        changed = differences(steps[before], steps[after])
        assert {"silver.silver_events", "gold.user_daily_listening", "gold.listening_sessions"} <= changed.keys()


def test_late_repeated_and_disordered_plays_are_there_once_and_on_their_day(steps: dict[str, Any]) -> None:
    assert len(steps["a year late"]["silver.silver_plays"]) == steps["plays"]
    assert len(steps["a year late"]["silver.silver_merged"]) == steps["merged"]
    daily = {(r[0], r[1].isoformat()): r[2] for r in steps["a year late"]["gold.user_daily_listening"]}
    before = {(r[0], r[1].isoformat()) for r in steps["more days"]["gold.user_daily_listening"]}
    days = {(r[1], r[9].isoformat()) for r in steps["a year late"]["silver.silver_plays"] if r[8].year == 2024}
    assert days
    assert days <= daily.keys() - before


def test_a_second_run_changes_nothing(home: Path, steps: dict[str, Any]) -> None:
    warehouse = Warehouse(home, Warehouse.settings_at(home, time_zone="America/New_York"), build=100, published=5)
    warehouse.run("run")
    assert differences(steps["from nothing"], warehouse.tables()) == {}
    assert warehouse.rows("select count(*) from silver.silver_events where _build > 5") == [(0,)]


def test_an_event_that_comes_again_with_other_content_stays_as_it_landed(tmp_path: Path) -> None:
    """Even where the broker stamped the later one earlier: gold knows nothing of the row that would be gone."""
    warehouse = Warehouse.at(tmp_path / "warehouse")
    warehouse.land([play("2025-11-12T10:00:00", event_id="one", track_id="first")])
    warehouse.run()
    other = play("2025-11-15T10:00:00", event_id="one", track_id="second")
    warehouse.land([other], at=NOW - timedelta(days=1))
    warehouse.run()
    assert warehouse.rows("select track_id, play_count from gold.first_listens") == [("first", 1)]
    assert warehouse.rows("select measure, row_count from gold.data_quality where measure = 'duplicate'") == [
        ("duplicate", 1)
    ]
