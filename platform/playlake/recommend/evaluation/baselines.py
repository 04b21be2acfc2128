"""What recommendations are compared with: popularity, and the package `implicit` (BM25, cosine, ALS).

Each is a function of plays and parameters, and each has a grid of parameters to choose from on the validation part.
All rank the same candidates: the training catalogue without what the listener has played.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np

from playlake.errors import PlaylakeError
from playlake.recommend.evaluation.interactions import Numbers, Plays
from playlake.recommend.evaluation.metrics import DEPTH
from playlake.recommend.evaluation.split import Fold

Parameters = Mapping[str, Any]
Ranker = Callable[[Plays, Fold, Parameters], Numbers]
_DAY_US = 86_400_000_000


def require_implicit() -> None:
    """See that the package is there, before anything is computed.

    :raises PlaylakeError: saying what to install.
    """
    if importlib.util.find_spec("implicit") is None:
        raise PlaylakeError(
            "The package `implicit` is not installed, which recommendations are compared with. Install it"
            " (`.venv/bin/pip install implicit`), or give --without-implicit."
        )


def popularity(plays: Plays, fold: Fold, parameters: Parameters) -> Numbers:
    """The tracks with the most listeners, of the last ``days`` where given."""
    used = fold.training.copy()
    if "days" in parameters:
        last = plays.times[fold.training].max()
        used &= plays.times >= last - parameters["days"] * _DAY_US
    tracks = len(plays.track_ids)
    known = np.unique(plays.users[fold.training] * tracks + plays.tracks[fold.training])
    pairs = np.unique(plays.users[used] * tracks + plays.tracks[used])
    listeners = np.bincount(pairs % tracks, minlength=tracks)
    catalogue = np.unique(plays.tracks[fold.training])
    order = catalogue[np.argsort(-listeners[catalogue], kind="stable")]
    ranking = np.full((len(fold.users), DEPTH), -1, np.int64)
    for row, user in enumerate(fold.users):
        start, end = np.searchsorted(known, (user * tracks, (user + 1) * tracks))
        # Of so many, enough are new to the listener.
        near = order[: DEPTH + end - start]
        new = near[~np.isin(near, known[start:end] % tracks)][:DEPTH]
        ranking[row, : len(new)] = new
    return ranking


def bm25(plays: Plays, fold: Fold, parameters: Parameters) -> Numbers:
    """implicit's BM25Recommender: item-item, weighed by BM25 with the track as the document."""
    from implicit.nearest_neighbours import BM25Recommender

    return _implicit(lambda: BM25Recommender(num_threads=0, **parameters), plays, fold)


def cosine(plays: Plays, fold: Fold, parameters: Parameters) -> Numbers:
    """implicit's CosineRecommender: item-item cosine of counts."""
    from implicit.nearest_neighbours import CosineRecommender

    return _implicit(lambda: CosineRecommender(num_threads=0, **parameters), plays, fold)


def als(plays: Plays, fold: Fold, parameters: Parameters) -> Numbers:
    """implicit's AlternatingLeastSquares (Hu, Koren and Volinsky 2008)."""
    from implicit.cpu.als import AlternatingLeastSquares

    return _implicit(lambda: AlternatingLeastSquares(random_state=7, **parameters), plays, fold)


def _implicit(make: Callable[[], Any], plays: Plays, fold: Fold) -> Numbers:
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    catalogue, columns = np.unique(plays.tracks[fold.training], return_inverse=True)
    rows = plays.users[fold.training]
    counts = csr_matrix(
        (plays.counts[fold.training], (rows, columns)), shape=(len(plays.user_ids), len(catalogue)), dtype=np.float64
    )
    counts.sum_duplicates()
    with warnings.catch_warnings(), threadpool_limits(1, "blas"):
        # It hands itself a matrix in another form than it asks for.
        warnings.filterwarnings("ignore", message="Method expects CSR input")
        model = make()
        model.fit(counts, show_progress=False)
        ids, scores = model.recommend(fold.users, counts[fold.users], N=DEPTH, filter_already_liked_items=True)
    # Where it has nothing to say it fills up: with the lowest number there is, or, of neighbours, with a score of 0.
    factors = hasattr(model, "factors")
    said = (ids >= 0) & (scores > (np.finfo(np.float32).min if factors else 0))
    return np.where(said, catalogue[np.clip(ids, 0, None)], -1)


def _grid(**values: tuple[Any, ...]) -> tuple[dict[str, Any], ...]:
    return tuple(dict(zip(values, chosen, strict=True)) for chosen in product(*values.values()))


BASELINES: dict[str, tuple[Ranker, tuple[dict[str, Any], ...]]] = {
    "popularity": (popularity, ({},)),
    "recent popularity": (popularity, _grid(days=(7, 14, 30))),
    "implicit BM25": (bm25, _grid(K=(20, 50, 100, 300), K1=(0.2, 1.2, 20.0), B=(0.0, 0.25, 0.5, 0.75))),
    "implicit cosine": (cosine, _grid(K=(20, 50, 100, 300))),
    "implicit ALS": (als, _grid(factors=(16, 64), regularization=(0.01, 1.0), alpha=(1.0, 10.0))),
}
"""By name, the ranker and the parameters to choose from."""


def chosen(with_implicit: bool) -> Iterator[tuple[str, Ranker, tuple[dict[str, Any], ...]]]:
    """The baselines to compare with."""
    for name, (ranker, grid) in BASELINES.items():
        if with_implicit or not name.startswith("implicit"):
            yield name, ranker, grid
