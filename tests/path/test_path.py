"""The whole path on real servers, by the commands a person types."""

from __future__ import annotations

import itertools
import signal
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import httpx
import polars as pl
import pyarrow.dataset as ds
import pytest
from deltalake import DeltaTable

from playlake.lake.options import storage_options
from playlake.warehouse import duck
from tests.support.commands import Cli, end
from tests.support.exports import history, rows_of
from tests.support.lakes import assert_whole, parquet_files
from tests.support.waiting import wait_for

PLAYS = 3_000


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return history(tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    made = Cli(tmp_path_factory.mktemp("path") / "home")
    yield made
    made("down")
    assert made.processes() == []


@pytest.fixture(scope="module")
def first(cli: Cli, export: Path) -> dict[str, Any]:
    """The first demo on the export. Everything below looks at what it left."""
    return cli.json("demo", "--no-serve", "--history", str(export))


@pytest.fixture(scope="module")
def running(cli: Cli, first: dict[str, Any]) -> Cli:
    """The stack, started again after the demo, which has stopped it."""
    assert cli.processes() == []
    assert cli("status", check=1).code == 1
    cli("up")
    return cli


def test_every_row_of_the_history_is_in_bronze(first: dict[str, Any], export: Path) -> None:
    rows = rows_of(export)
    receipt = first["receipt"]
    assert receipt["read"] == receipt["produced"] == len(rows) == first["produced"] == first["bronze"]
    assert receipt["refused"] == receipt["same"] == receipt["unsettled"] == 0
    assert sum(f["read"] for f in receipt["files"]) == len(rows)
    assert first["dead_letters"] == 0
    assert first["silver"] + first["silver_by_model"]["silver_invalid"] == len(rows)
    assert first["gold"]["track_popularity"] == len({(r["artistName"], r["trackName"]) for r in rows})
    assert set(first["seconds"]) == {"up", "produce", "land", "build", "serve"}
    assert set(first["urls"]) == {"api", "dashboard"}


def test_importing_again_adds_nothing(running: Cli, export: Path) -> None:
    again = running.json("import", str(export))
    assert again["same"] == again["read"] == len(rows_of(export))
    assert again["produced"] == again["refused"] == 0


def test_verify_finds_nothing_wrong_after_down_and_up(running: Cli, first: dict[str, Any]) -> None:
    report = assert_whole(running)
    assert sum(p["in_log"] for p in report["partitions"]) == first["bronze"]
    assert sum(p["in_bronze"] for p in report["partitions"]) == first["bronze"]


def test_bronze_opens_in_readers_that_are_not_ours(running: Cli, first: dict[str, Any], export: Path) -> None:
    settings = running.settings()
    uri = f"s3://{settings.s3_bucket}/bronze/plays"
    options = storage_options(settings)
    key = ("event_id", "_kafka_partition", "_kafka_offset", "ms_played")

    with duck.connect(settings) as connection:
        in_duckdb = connection.execute(f"select {', '.join(key)} from delta_scan('{uri}')").fetchall()
    in_deltalake = DeltaTable(uri, storage_options=options).to_pyarrow_table(columns=list(key)).to_pylist()
    in_polars = pl.scan_delta(uri, storage_options=options).select(key).collect().rows()
    filesystem, files = parquet_files(running, "bronze/plays")
    in_parquet = ds.dataset(files, filesystem=filesystem, format="parquet").to_table(columns=list(key)).to_pylist()

    expected = sorted(in_duckdb)
    assert len(expected) == first["bronze"]
    assert sorted(in_polars) == expected
    assert sorted(tuple(r[k] for k in key) for r in in_deltalake) == expected
    assert sorted(tuple(r[k] for k in key) for r in in_parquet) == expected
    assert all("/year=" in f and "/month=" in f and "/day=" in f and "/hour=" in f for f in files)
    assert Counter(r[3] for r in expected) == Counter(r["msPlayed"] for r in rows_of(export))


def test_what_the_source_does_not_say_is_null(running: Cli) -> None:
    settings = running.settings()
    with duck.connect(settings) as connection:
        row = connection.execute(
            "select count(album_name), count(duration_ms), count(device_type), count(started_at), count(isrc),"
            " bool_and(starts_with(track_id, 'surrogate:')), count(distinct event_id) = count(*), min(time_precision_s)"
            f" from delta_scan('s3://{settings.s3_bucket}/bronze/plays')"
        ).fetchone()
    assert row == (0, 0, 0, 0, 0, True, True, 60.0)


@pytest.fixture(scope="module")
def simulated(running: Cli) -> tuple[dict[str, Any], dict[str, Any]]:
    """Simulated listening beside the history, each event sent twice: what was sent once, and what was built."""
    for _ in range(2):  # the same seed: the same events
        sent = running.json("simulate", "--plays", str(PLAYS), "--listeners", "40", "--days", "30")
    landed = running.json("land", "--until-idle")
    assert landed["rows"] == {topic: 2 * count for topic, count in sent["by_topic"].items()} | {"currently_playing": 0}
    return sent, running.json("build")


def test_simulated_listening_goes_through_its_own_topics_and_repeats_count_once(
    running: Cli, first: dict[str, Any], simulated: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    sent, built = simulated
    assert sent["by_topic"]["user_plays"] == PLAYS
    assert sent["by_topic"]["user_skips"] > 0
    assert sent["by_topic"]["user_likes"] > 0
    assert built["bronze"] == first["bronze"] + 2 * sent["produced"]
    assert built["silver"]["silver_plays"] == first["silver_by_model"]["silver_plays"] + PLAYS
    assert built["silver"]["silver_skips"] == sent["by_topic"]["user_skips"]
    assert built["silver"]["silver_likes"] == sent["by_topic"]["user_likes"]
    assert built["gold"]["user_recommendations"] > 0
    assert_whole(running)


@pytest.mark.usefixtures("simulated")
def test_similarity_is_what_its_formula_says(running: Cli) -> None:
    """Gold against the same sums in plain Python: histories, latest sessions, 1/size, damping, shrinkage, means."""
    by_user: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    begun: dict[str, list[Any]] = defaultdict(list)
    with _built(running) as connection:
        gold = connection.execute(
            "select track_id, similar_track_id, shared_baskets, score, rank from gold.track_similarity"
        ).fetchall()
        before: dict[str, Any] = {}
        for user, at, _, track, listened, last, is_heard in connection.execute(
            "select user_id, played_at, event_id, track_id, listened_ms,"
            " max(played_at) over (partition by user_id, track_id) as last_played_at, is_heard"
            " from (select *, not coalesce(skipped, false) and coalesce(listened_ms, 30000) >= 30000 as is_heard"
            " from silver.silver_plays) order by 1, 2, 3"
        ).fetchall():
            if user not in before or _is_pause(before[user], at, listened):
                begun[user].append(at)
            before[user] = at
            if is_heard:
                by_user[user].append((at, track, listened, last))
    # The latest so many sessions of each listener (skipped plays are in them too), then what was heard in those.
    of_each = max(50_000 // len(begun), 100)
    assert any(len(starts) > 10 for starts in begun.values())
    sessions: list[list[tuple[str, Any]]] = []
    for user, plays in by_user.items():
        since, heard_before = begun[user][-of_each:][0], None
        for at, track, listened, _ in plays:
            if at < since:
                continue
            if heard_before is None or _is_pause(heard_before, at, listened):
                sessions.append([])
            sessions[-1].append((track, at))
            heard_before = at
    histories = [[(track, last) for _, track, _, last in plays] for plays in by_user.values()]
    scores: dict[tuple[str, str], float] = defaultdict(float)
    shared: Counter[tuple[str, str]] = Counter()
    for kind in (histories, sessions):
        if len(kind) < 10:
            continue
        kept = [_most_played(basket, 100) for basket in kind]
        norm: dict[str, float] = defaultdict(float)
        together: dict[tuple[str, str], float] = defaultdict(float)
        meetings: Counter[tuple[str, str]] = Counter()
        for basket in kept:
            for track in basket:
                norm[track] += 1 / len(basket)
            for pair in itertools.permutations(basket, 2):
                together[pair] += 1 / len(basket)
                meetings[pair] += 1
        for (a, b), n in meetings.items():
            scores[a, b] += together[a, b] / (norm[a] ** 0.6 * norm[b] ** 0.4) * n / (n + 2) / 2
        shared += meetings
    assert len(gold) > 500
    of_track: dict[str, list[float]] = defaultdict(list)
    for (a, _), score in scores.items():
        of_track[a].append(score)
    best = {a: sorted(found, reverse=True)[:10] for a, found in of_track.items()}
    assert Counter(a for a, *_ in gold) == {a: len(found) for a, found in best.items()}
    for a, b, meetings_of_both, score, rank in gold:
        assert meetings_of_both == shared[a, b]
        # Of scores that differ by less than the rounding either may come first.
        assert score == pytest.approx(scores[a, b], abs=2e-9)
        assert score == pytest.approx(best[a][rank - 1], abs=2e-9)


def _is_pause(before: Any, at: Any, listened_ms: int | None) -> bool:
    """Whether a session ends between two plays."""
    return bool(at - timedelta(milliseconds=listened_ms or 0) - before > timedelta(minutes=30))


def _most_played(basket: list[tuple[str, Any]], most: int) -> list[str]:
    """The most played tracks of a basket; of equal ones the last played, then the first by id."""
    plays = Counter(track for track, _ in basket)
    last = dict(sorted(basket, key=lambda play: play[1]))
    return sorted(plays, key=lambda track: (-plays[track], -last[track].timestamp(), track))[:most]


@contextmanager
def _built(cli: Cli) -> Iterator[duckdb.DuckDBPyConnection]:
    """dbt's own file, in which silver is too."""
    [path] = (cli.home / "warehouse").glob("*.duckdb")
    with duckdb.connect(str(path), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_feed_ends_well_by_a_signal(running: Cli, number: signal.Signals) -> None:
    def pending() -> int:
        return int(running.json("lake", "pending")["pending"])

    before = pending()
    feed = running.start("simulate", "--rate", "100", "--json")
    assert feed.stderr is not None
    assert feed.stderr.readline() == "sending\n"
    wait_for(lambda: pending() > before + 20)
    done = end(feed, number)
    assert done.code == 0, done.err
    assert pending() == before + done.json["produced"]


@pytest.mark.usefixtures("simulated")
def test_the_api_serves_recommendations_and_keeps_them(running: Cli) -> None:
    with duck.connect(running.settings()) as connection:
        published = running.home / "warehouse" / "published"
        connection.execute(f"attach '{max(published.glob('gold-*.duckdb'))}' as gold_file (read_only)")
        track = connection.execute(
            "select track_id from gold_file.gold.track_similarity group by 1 order by count(*) desc, 1 limit 1"
        ).fetchall()[0][0]
        expected = connection.execute(
            "select similar_track_id, score, rank from gold_file.gold.track_similarity"
            " where track_id = ? order by rank",
            [track],
        ).fetchall()
    process = running.start("serve", "api", "--json")
    assert process.stdout is not None
    try:
        import json

        url = json.loads(process.stdout.readline())["url"]
        wait_for(lambda: _answers(f"{url}/health"))
        with httpx.Client(base_url=url) as client:
            health = client.get("/health")
            assert (health.status_code, health.json()["status"], health.json()["cache"]) == (200, "ok", "ok")
            first, second = client.get(f"/recommendations/{track}"), client.get(f"/recommendations/{track}")
            assert (first.headers["x-cache"], second.headers["x-cache"]) == ("miss", "hit")
            assert first.json() == second.json()
            got = [(r["track_id"], r["score"], r["rank"]) for r in first.json()["recommendations"]]
            assert got == expected
            assert 0 < len(got) <= 10
            missing = client.get("/recommendations/no-such-track")
            assert missing.status_code == 404
            assert "no-such-track" in missing.json()["detail"]
            before = health.json()["version"]
            running.json("build")
            after = client.get(f"/recommendations/{track}")
            assert after.headers["x-cache"] == "miss"
            assert after.json()["version"] == before + 1
    finally:
        end(process)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
