"""Simulated listening from its topics to gold and to the recommendations that the API serves."""

from __future__ import annotations

import itertools
import json
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import duckdb
import httpx
import pytest

from playlake.warehouse import duck
from tests.support.commands import Cli, end
from tests.support.lakes import assert_whole
from tests.support.waiting import wait_for

PLAYS = 3_000


@pytest.fixture(scope="module")
def simulated(cli: Cli) -> tuple[dict[str, Any], dict[str, Any]]:
    """Simulated listening, each event sent twice: what was sent once, and what was built."""
    for _ in range(2):  # the same seed: the same events
        sent = cli.json("simulate", "--plays", str(PLAYS), "--listeners", "40", "--days", "30")
    landed = cli.json("land", "--until-idle")
    assert landed["rows"] == {topic: 2 * count for topic, count in sent["by_topic"].items()} | {"currently_playing": 0}
    return sent, cli.json("build")


def test_simulated_listening_goes_through_its_own_topics_and_repeats_count_once(
    cli: Cli, simulated: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    sent, built = simulated
    assert sent["by_topic"]["user_plays"] == PLAYS
    assert sent["by_topic"]["user_skips"] > 0
    assert sent["by_topic"]["user_likes"] > 0
    assert built["bronze"] == 2 * sent["produced"]
    assert built["silver"]["silver_plays"] == PLAYS
    assert built["silver"]["silver_skips"] == sent["by_topic"]["user_skips"]
    assert built["silver"]["silver_likes"] == sent["by_topic"]["user_likes"]
    assert built["gold"]["user_recommendations"] > 0
    assert_whole(cli)


@pytest.mark.usefixtures("simulated")
def test_similarity_is_what_its_formula_says(cli: Cli) -> None:
    """Gold against the same sums in plain Python: histories, latest sessions, 1/size, damping, shrinkage, means."""
    by_user: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    begun: dict[str, list[Any]] = defaultdict(list)
    with _built(cli) as connection:
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


@pytest.mark.usefixtures("simulated")
def test_the_api_serves_recommendations_and_keeps_them(cli: Cli) -> None:
    with duck.connect(cli.settings()) as connection:
        published = cli.home / "warehouse" / "published"
        connection.execute(f"attach '{max(published.glob('gold-*.duckdb'))}' as gold_file (read_only)")
        track = connection.execute(
            "select track_id from gold_file.gold.track_similarity group by 1 order by count(*) desc, 1 limit 1"
        ).fetchall()[0][0]
        expected = connection.execute(
            "select similar_track_id, score, rank from gold_file.gold.track_similarity"
            " where track_id = ? order by rank",
            [track],
        ).fetchall()
    process = cli.start("serve", "api", "--json")
    assert process.stdout is not None
    try:
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
            cli.json("build")
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
