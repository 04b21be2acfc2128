"""Whether a difference is more than chance: paired bootstrap over listeners (Efron and Tibshirani 1993)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from playlake.recommend.evaluation.metrics import Figures

_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


def paired(ours: Figures, theirs: Figures, *, samples: int = 2000, seed: int = 7) -> tuple[Interval, Interval | None]:
    """The difference of the means, and their ratio (None where the other mean is 0, in whole or in a sample).

    Listeners are drawn again with replacement, for both the same ones.
    """
    count = len(ours)
    rng = np.random.default_rng(seed)
    one, other = np.empty(samples), np.empty(samples)
    for start in range(0, samples, _AT_ONCE):
        drawn = rng.integers(0, count, (min(_AT_ONCE, samples - start), count))
        one[start : start + _AT_ONCE] = ours[drawn].mean(axis=1)
        other[start : start + _AT_ONCE] = theirs[drawn].mean(axis=1)
    difference = _interval(float(ours.mean() - theirs.mean()), one - other)
    if theirs.mean() == 0 or not other.all():
        return difference, None
    return difference, _interval(float(ours.mean() / theirs.mean()), one / other)


def _interval(value: float, drawn: Figures) -> Interval:
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Interval(value, float(low), float(high))
