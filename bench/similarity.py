"""Seconds of finding similar tracks: our SQL beside implicit's BM25, on the same plays, in the same run.

    .venv/bin/python bench/similarity.py [1 5 20]      (millions of plays)

Both get each listener's 50 most played tracks, and find 50 neighbours for each track, on all cores. Ours is what dbt
says the models `track_baskets` and `track_neighbours` took (with `basket: user`), with no start of dbt. The other is
making the matrix from rows that are counted and capped already, `BM25Recommender.fit`, and `similar_items` of all.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

import duckdb
import numpy as np
from implicit.nearest_neighbours import BM25Recommender
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from playlake.settings import load_settings
from playlake.warehouse import dbt, definition
from playlake.warehouse.local import Local

sys.path.insert(0, str(Path(__file__).parent))
from warehouse import FIRST_DAY, LISTENERS, PLAYS, PLAYS_A_DAY

from tests.support.interruptible import interruptible

CAP = NEIGHBOURS = 50
MODELS = (
    "play_totals",
    "first_listens",
    "track_popularity",
    "listener_tracks",
    "track_catalogue",
    "track_baskets",
    "track_neighbours",
)


def ours(millions: int, folder: Path) -> tuple[float, Path]:
    """Seconds of the two models, and the DuckDB file they ran in."""
    nowhere = {"s3_endpoint": "http://127.0.0.1:9", "s3_access_key": "none", "s3_secret_key": "none"}  # no lake is read
    settings = load_settings(
        _env_file=None,
        home=folder / "home",
        profile="containers",
        kafka_bootstrap="127.0.0.1:9",
        redis_url="redis://127.0.0.1:9/0",
        **nowhere,
    )
    where = Local(settings, folder)
    days = millions * 1_000_000 // (LISTENERS * PLAYS_A_DAY)
    with duckdb.connect(str(where.database)) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute("create schema gold")
        connection.execute(
            "create table gold.counted_plays as select *, ms_played as listened_ms, played_at::date as played_date"
            f" from ({PLAYS})",
            {"first": 0, "last": days, "start": FIRST_DAY},
        )
    given = {"basket": "user", "basket_most_tracks": CAP, "similarity_neighbours": NEIGHBOURS}
    command = ["run", "--full-refresh", "--select", *MODELS, "--vars", json.dumps(given)]
    results = dbt.run(settings, where, command, lambda _text: None, variables=definition.variables(settings))
    took = {r["unique_id"].rpartition(".")[2]: float(r["execution_time"]) for r in results}
    return took["track_baskets"] + took["track_neighbours"], where.database


def implicits(database: Path) -> float:
    """Seconds of implicit on the same histories."""
    with duckdb.connect(str(database), read_only=True) as connection:
        found = connection.execute(
            "select dense_rank() over (order by user_id) - 1 as listener, track_number - 1 as track, heard_plays"
            " from silver.listener_tracks join silver.track_catalogue using (track_id)"
        ).fetchnumpy()
    started = time.monotonic()
    with threadpool_limits(1, "blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # implicit, of the matrix that it makes of ours itself
        counts = csr_matrix((found["heard_plays"].astype(np.float64), (found["listener"], found["track"])))
        model = BM25Recommender(K=NEIGHBOURS, num_threads=0)
        model.fit(counts, show_progress=False)
        model.similar_items(np.arange(counts.shape[1]), N=NEIGHBOURS)
    return time.monotonic() - started


def main() -> None:
    """Print the table as Markdown."""
    print("| plays | our SQL | implicit BM25 | ratio |")
    print("|---:|---:|---:|---:|")
    for millions in [int(a) for a in sys.argv[1:]] or [1, 5, 20]:
        with tempfile.TemporaryDirectory() as folder:
            mine, database = ours(millions, Path(folder))
            other = implicits(database)
        print(f"| {millions:,},000,000 | {mine:.1f} s | {other:.1f} s | {mine / other:.2f} |", flush=True)


if __name__ == "__main__":
    interruptible(main)
