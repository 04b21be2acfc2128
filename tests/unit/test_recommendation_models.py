"""The recommendation models themselves, by dbt in a scratch DuckDB file: their tests, BM25 as implicit has it, both
engines' SQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import sqlglot
from implicit.nearest_neighbours import BM25Recommender
from scipy.sparse import csr_matrix

from playlake.settings import load_settings
from playlake.warehouse import dbt
from playlake.warehouse.local import Local
from playlake.warehouse.trial import Trial

MODELS = (
    "listener_tracks", "track_catalogue", "track_baskets", "track_neighbours", "artist_neighbours", "track_similarity",
    "user_recommendations", "forgotten_favourites",
)  # fmt: skip
LISTENERS, TRACKS = 60, 90


def quiet(_text: str) -> None:
    pass


@pytest.fixture(scope="module")
def counts() -> Any:
    """How often each listener played each track: no two alike in popularity, so that there are no ties."""
    rng = np.random.default_rng(5)
    chance = np.linspace(0.06, 0.5, TRACKS)[None, :] * rng.uniform(0.3, 1.5, (LISTENERS, 1))
    made = np.where(rng.random((LISTENERS, TRACKS)) < chance, rng.geometric(0.3, (LISTENERS, TRACKS)), 0)
    made[np.arange(TRACKS) % LISTENERS, np.arange(TRACKS)] += 1  # no track that nobody has played
    return made


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory, counts: Any) -> Trial:
    folder = tmp_path_factory.mktemp("trial")
    made = Trial(load_settings(_env_file=None, home=folder / "home"), folder)
    users, tracks = np.nonzero(counts)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    made.take_rows(
        pa.table(
            {
                "user_id": [f"u{n:03}" for n in users],
                "track_id": [f"t{n:03}" for n in tracks],
                "played_at": pa.array(
                    [start + timedelta(hours=int(n)) for n in range(len(users))], pa.timestamp("us", "UTC")
                ),
                "count": pa.array(counts[users, tracks], pa.int64()),
            }
        )
    )
    return made


def everything(trial: Trial) -> pa.Array:
    return trial.plays()["play_number"].combine_chunks()


def rows(trial: Trial, query: str) -> list[Any]:
    with duckdb.connect(str(trial.database), read_only=True) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def as_set(trial: Trial) -> pa.Table:
    """The models with the project's own variables."""
    return trial.recommend(everything(trial), 10, {}, quiet)


def test_their_own_tests_pass(trial: Trial, as_set: pa.Table) -> None:
    results = dbt.run(
        trial.settings,
        Local(trial.settings, trial.folder),
        ["test", "--select", "tag:recommendations", "nothing_recommended_was_played"],
        quiet,
        variables={"DBT_EXCLUDE_RESOURCE_TYPES": ""},
    )
    ran = [r["unique_id"] for r in results if r["status"] == "pass"]
    assert len(ran) == len(results)
    assert {name.split(".")[2] for name in ran if name.startswith("unit_test.")} == set(MODELS)
    assert any("nothing_recommended_was_played" in name for name in ran)


def test_everybody_gets_ten_new_tracks_in_order(trial: Trial, as_set: pa.Table, counts: Any) -> None:
    found = as_set.to_pylist()
    assert len(found) == 10 * LISTENERS
    for n in range(LISTENERS):
        mine = [r for r in found if r["user_id"] == f"u{n:03}"]
        assert [r["rank"] for r in mine] == list(range(1, 11))
        scores = [r["recommendation_score"] for r in mine]
        assert scores == sorted(scores, reverse=True)
        assert all(counts[n, int(r["track_id"][1:])] == 0 for r in mine)


def bm25(trial: Trial, most: int, k: int, k1: float, b: float) -> tuple[pa.Table, Any]:
    """What the same SQL recommends with BM25's weights, and all similarities (tracks, tracks)."""
    variables = {
        "similarity_weight": "bm25",
        "bm25_k1": k1,
        "bm25_b": b,
        "basket": "user",
        "similarity_neighbours": k,
        "basket_most_tracks": 100_000,
    }
    found = trial.recommend(everything(trial), most, variables, quiet)
    scores = np.zeros((TRACKS, TRACKS))
    for row in trial.similarities().to_pylist():
        scores[int(row["track_id"][1:]), int(row["similar_track_id"][1:])] = row["score"]
    return found, scores


def implicits(counts: Any, k: int, k1: float, b: float) -> tuple[BM25Recommender, Any]:
    """The package's model, fitted, and the counts as it takes them."""
    plays = csr_matrix(counts.astype(np.float64))
    model = BM25Recommender(K=k, K1=k1, B=b, num_threads=1)
    with pytest.warns(match="Method expects CSR"):  # implicit's own hands on another form
        model.fit(plays, show_progress=False)
    return model, plays


def test_bm25_is_implicits(trial: Trial, as_set: pa.Table, counts: Any) -> None:
    """Similarities and recommendations of the same SQL equal implicit's BM25Recommender, to 1e-5."""
    found, ours = bm25(trial, 20, TRACKS, 0.4, 0.2)
    model, plays = implicits(counts, TRACKS, 0.4, 0.2)
    theirs = model.similarity.toarray()
    assert np.count_nonzero(theirs) > TRACKS * 20
    assert np.abs(ours - theirs).max() < 1e-5
    ids, scores = model.recommend(np.arange(LISTENERS), plays, N=20)
    for user in range(LISTENERS):
        mine = {r["track_id"]: r["recommendation_score"] for r in found.to_pylist() if r["user_id"] == f"u{user:03}"}
        said = scores[user] > 1e-5
        assert np.allclose(
            [mine.get(f"t{track:03}", -1.0) for track in ids[user][said]], scores[user][said], rtol=1e-5, atol=1e-5
        )


def test_few_neighbours_are_implicits_too_and_popularity_fills_up(trial: Trial, as_set: pa.Table, counts: Any) -> None:
    # More are wished for than there are: each listener gets everything that is new.
    found, ours = bm25(trial, 1000, 12, 1.2, 0.75)
    per_user = dict.fromkeys(range(LISTENERS), 0)
    for user in found["user_id"].to_pylist():
        per_user[int(user[1:])] += 1
    assert per_user == {u: TRACKS - int((counts[u] > 0).sum()) for u in range(LISTENERS)}
    said = dict(rows(trial, "select reason = 'popular lately', count(*) from gold.user_recommendations group by 1"))
    assert said[True] > 0
    assert said[False] > 0
    # Of equal neighbours at the end of a list either may be in it: there only the scores are compared.
    theirs = implicits(counts, 12, 1.2, 0.75)[0].similarity.toarray()
    weakest = np.where(theirs > 0, theirs, np.inf).min(axis=1, keepdims=True)
    clear = np.maximum(ours, theirs) > weakest + 1e-5
    assert clear.sum() > TRACKS * 9
    assert np.abs(ours - theirs)[clear].max() < 1e-5
    assert np.abs(np.sort(ours) - np.sort(theirs)).max() < 1e-5


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dialect", ["duckdb", "snowflake"])
def test_the_compiled_sql_is_of_both_engines(trial: Trial, as_set: pa.Table, model: str, dialect: str) -> None:
    compiled = trial.folder / "target" / "compiled" / "spotify_analytics" / "models" / "gold" / f"{model}.sql"
    [statement] = sqlglot.parse(compiled.read_text(), read=dialect, error_level=sqlglot.ErrorLevel.RAISE)
    assert isinstance(statement, sqlglot.exp.Select)
    # Every function is one that sqlglot knows in both, but for the one that macros/dialect.sql has of each.
    assert {found.name for found in statement.find_all(sqlglot.exp.Anonymous)} <= {"nfc_normalize"}
