"""How good a ranking is, listener by listener.

A ranking is an array (listeners, depth) of track numbers, the best first, -1 where there is nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from playlake.recommend.evaluation.interactions import Numbers

Figures = NDArray[np.float64]
METRICS = ("ndcg@10", "hr@10", "recall@20")
DEPTH = 20


def measured(ranking: Numbers, relevant: Sequence[Numbers]) -> dict[str, Figures]:
    """By metric (``METRICS``), one figure a listener, 0 to 1.

    NDCG@10 (Järvelin and Kekäläinen 2002) with binary gains: the ideal has min(10, relevant) hits at the top.
    """
    hits = np.zeros((len(relevant), DEPTH), np.float64)
    depth = min(ranking.shape[1], DEPTH)
    for row, wanted in enumerate(relevant):
        hits[row, :depth] = np.isin(ranking[row, :depth], wanted)
    sizes = np.array([len(wanted) for wanted in relevant], np.int64)
    discounts = 1.0 / np.log2(np.arange(2, 12))
    ideal = np.cumsum(discounts)[np.minimum(sizes, 10) - 1]
    return {
        "ndcg@10": hits[:, :10] @ discounts / ideal,
        "hr@10": hits[:, :10].max(axis=1),
        "recall@20": hits.sum(axis=1) / sizes,
    }


def coverage(ranking: Numbers, catalogue: int) -> float:
    """Share of the catalogue that is in anybody's first ten."""
    found = np.unique(ranking[:, :10])
    return float(np.count_nonzero(found >= 0)) / catalogue
