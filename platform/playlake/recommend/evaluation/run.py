"""The evaluation itself: everybody's parameters chosen on the validation part, then measured once on the test part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from playlake.recommend.evaluation import baselines
from playlake.recommend.evaluation.bootstrap import Interval, paired
from playlake.recommend.evaluation.interactions import Numbers, Plays
from playlake.recommend.evaluation.metrics import DEPTH, METRICS, Figures, coverage, measured
from playlake.recommend.evaluation.split import Fold, Folds

Say = Callable[[str], None]
Ours = Callable[[pa.Array, Mapping[str, Any]], pa.Table]
"""What our models recommend (user_id, track_id, rank) from the plays with these numbers, with these variables."""

# Beside what is set, tried one variable after the other, each with the best of the ones before: (variable, values).
OUR_GRID: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("popularity_damping", (0.2, 0.3, 0.5)),
    ("recency_half_life_days", (0, 30)),
    ("similarity_neighbours", (50,)),
    ("voice_exponent", (0,)),
    ("artist_weight", (0, 0.5)),
    ("basket", ("user",)),
)


@dataclass(slots=True)
class Method:
    """A way to recommend, and its figures on the test part: means over the listeners."""

    name: str
    parameters: dict[str, Any]
    figures: dict[str, float]
    coverage: float
    by_listener: dict[str, Figures] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One of ours beside another's: by metric, difference and ratio with their intervals."""

    ours: str
    other: str
    difference: dict[str, Interval]
    ratio: dict[str, Interval | None]


@dataclass(slots=True)
class Evaluation:
    """All figures. ``listeners`` are those asked about in the test part; ``relevant`` tracks a listener, the mean."""

    plays: int
    training_plays: int
    listeners: int
    catalogue: int
    relevant: float
    methods: list[Method] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)


def evaluate(
    plays: Plays,
    folds: Folds,
    ours: Ours,
    ways: Mapping[str, Mapping[str, Any]],
    say: Say,
    *,
    with_implicit: bool = True,
) -> Evaluation:
    """Measure our models and what they are compared with.

    :param ways: by name, the variables of each way of ours; their parameters have been chosen.
    """
    fold = folds.test
    catalogue = len(np.unique(plays.tracks[fold.training]))
    relevant = float(np.mean([len(r) for r in fold.relevant]))
    found = Evaluation(
        int(plays.counts.sum()), int(plays.counts[fold.training].sum()), len(fold.users), catalogue, relevant
    )

    def add(name: str, parameters: Mapping[str, Any], ranking: Numbers) -> None:
        figures = measured(ranking, fold.relevant)
        means = {metric: float(values.mean()) for metric, values in figures.items()}
        found.methods.append(Method(name, dict(parameters), means, coverage(ranking, catalogue), figures))

    for name, variables in ways.items():
        say(f"{name}: running the models")
        add(name, variables, our_ranking(plays, fold, ours, variables))
    for name, ranker, grid in baselines.chosen(with_implicit):
        parameters = _best(name, plays, folds.validation, ranker, grid, say)
        add(name, parameters, ranker(plays, fold, parameters))
    for own in found.methods[: len(ways)]:
        found.comparisons += [_compared(own, other) for other in found.methods[len(ways) :]]
    return found


def tuned_ours(
    plays: Plays, fold: Fold, ours: Ours, start: Mapping[str, Any], say: Say, grid: Sequence[tuple[str, Any]] = OUR_GRID
) -> dict[str, Any]:
    """The variables that do best on a (validation) fold, sought one after the other from ``start`` on."""
    best = dict(start)
    score = _score(our_ranking(plays, fold, ours, best), fold)
    for variable, values in grid:
        for value in values:
            if best.get(variable) == value:
                continue
            say(f"choosing {variable}: {value} (NDCG@10 so far {score:.4f})")
            tried = {**best, variable: value}
            reached = _score(our_ranking(plays, fold, ours, tried), fold)
            if reached > score:
                best, score = tried, reached
    return best


def our_ranking(plays: Plays, fold: Fold, ours: Ours, variables: Mapping[str, Any]) -> Numbers:
    """What our models recommend the fold's listeners, (listeners, 20)."""
    rows = ours(pa.array(np.flatnonzero(fold.training)), variables)
    users, tracks = plays.numbered_users(rows["user_id"]), plays.numbered_tracks(rows["track_id"])
    ranks = np.asarray(rows["rank"].to_numpy()).astype(np.int64)
    place = np.full(len(plays.user_ids), -1, np.int64)
    place[fold.users] = np.arange(len(fold.users))
    kept = (place[users] >= 0) & (ranks <= DEPTH)
    ranking = np.full((len(fold.users), DEPTH), -1, np.int64)
    ranking[place[users[kept]], ranks[kept] - 1] = tracks[kept]
    return ranking


def _score(ranking: Numbers, fold: Fold) -> float:
    return float(measured(ranking, fold.relevant)["ndcg@10"].mean())


def _best(
    name: str, plays: Plays, fold: Fold, ranker: baselines.Ranker, grid: Sequence[dict[str, Any]], say: Say
) -> dict[str, Any]:
    if len(grid) == 1:
        return grid[0]
    scores = []
    for number, parameters in enumerate(grid, 1):
        say(f"{name}: parameters {number} of {len(grid)}")
        scores.append(_score(ranker(plays, fold, parameters), fold))
    return grid[int(np.argmax(scores))]


def _compared(own: Method, other: Method) -> Comparison:
    pairs = {metric: paired(own.by_listener[metric], other.by_listener[metric]) for metric in METRICS}
    return Comparison(
        own.name,
        other.name,
        {m: difference for m, (difference, _) in pairs.items()},
        {m: r for m, (_, r) in pairs.items()},
    )
