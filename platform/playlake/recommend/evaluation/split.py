"""What is learned from and what is to be guessed: three ways to divide plays.

A listener is asked about in the test when there is something to learn from (plays in training) and something new to
guess: tracks of the training catalogue that the listener had not played before. What was played is never a candidate.
Dividing at one moment for everybody keeps the future out of what is learned (Meng et al. 2020, "Exploring data
splitting strategies for the evaluation of recommendation models").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from playlake.errors import PlaylakeError
from playlake.recommend.evaluation.interactions import Mask, Numbers, Plays

SPLITS = ("time", "last", "random")


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Plays to learn from, and what is to be guessed.

    ``training`` is one bool a play; ``users`` are those asked about, ascending; ``relevant`` their new tracks.
    """

    training: Mask
    users: Numbers
    relevant: tuple[Numbers, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Folds:
    """``validation`` is for choosing parameters; ``test`` is looked at once, with what was chosen."""

    validation: Fold
    test: Fold


def divided(plays: Plays, how: str, *, share: float = 0.1, last: int = 1, seed: int = 7) -> Folds:
    """Divide plays.

    :param how: ``time``: the last ``share`` of all plays is the test, the ``share`` before it the validation.
        ``last``: each listener's ``last`` last tracks that were new then are the test, as many before them the
        validation. ``random``: a ``share`` of each listener's tracks is the test, another the validation, for plays
        without a time.
    :raises PlaylakeError: when nothing is left to guess.
    """
    if len(plays) == 0:
        raise PlaylakeError("There are no plays to evaluate with: land some (`playlake land`), or give a file.")
    if how == "time":
        folds = _by_time(plays, share)
    elif how == "last":
        folds = _by_last_new(plays, last)
    else:
        folds = _at_random(plays, share, seed)
    for name, fold in (("validation", folds.validation), ("test", folds.test)):
        if len(fold.users) == 0:
            raise PlaylakeError(
                f"There is nothing to guess in the {name} part: no listener with plays before it has a track in it"
                " that was new to the listener and known from others. More plays, more listeners, or another --split."
            )
    return folds


def _by_time(plays: Plays, share: float) -> Folds:
    count = len(plays)
    # A moment, not a place in the list: plays of one moment are on one side.
    first, second = (plays.times[min(int(count * (1 - k * share)), count - 1)] for k in (2, 1))
    before_first, before_second = plays.times < first, plays.times < second
    return Folds(
        _fold(plays, before_first, before_second & ~before_first),
        _fold(plays, before_second, ~before_second),
    )


def _by_last_new(plays: Plays, last: int) -> Folds:
    pairs = plays.users * len(plays.track_ids) + plays.tracks
    _, first_plays = np.unique(pairs, return_index=True)
    first_plays = np.sort(first_plays)  # a listener's tracks in the order in which they were new
    of_users = plays.users[first_plays]
    order = np.lexsort((-first_plays, of_users))  # by user, the last first
    starts = np.searchsorted(of_users[order], of_users[order])
    from_end = np.empty(len(order), np.int64)
    from_end[order] = np.arange(len(order)) - starts
    new_count = np.bincount(of_users, minlength=len(plays.user_ids))
    # Half of a listener's tracks at least are there to learn from.
    asked = new_count[of_users] >= 4 * last

    def held(low: int, high: int) -> Fold:
        chosen = first_plays[asked & (from_end >= low) & (from_end < high)]
        cut = np.full(len(plays.user_ids), len(plays), np.int64)
        np.minimum.at(cut, plays.users[chosen], chosen)
        training = np.arange(len(plays)) < cut[plays.users]
        guess = np.zeros(len(plays), np.bool_)
        guess[chosen] = True
        return _fold(plays, training, guess)

    return Folds(held(last, 2 * last), held(0, last))


def _at_random(plays: Plays, share: float, seed: int) -> Folds:
    pairs = plays.users * len(plays.track_ids) + plays.tracks
    unique, of_play = np.unique(pairs, return_inverse=True)
    drawn = np.random.default_rng(seed).random(len(unique))[of_play]
    test, validation = drawn < share, (drawn >= share) & (drawn < 2 * share)
    return Folds(_fold(plays, ~test & ~validation, validation), _fold(plays, ~test, test))


def _fold(plays: Plays, training: Mask, guess: Mask) -> Fold:
    tracks = len(plays.track_ids)
    known = np.unique(plays.users[training] * tracks + plays.tracks[training])
    pairs = np.setdiff1d(np.unique(plays.users[guess] * tracks + plays.tracks[guess]), known)
    users, found = pairs // tracks, pairs % tracks
    kept = np.isin(found, plays.tracks[training]) & np.isin(users, plays.users[training])
    users, found = users[kept], found[kept]
    asked, starts = np.unique(users, return_index=True)
    return Fold(training, asked, tuple(np.split(found, starts[1:])) if len(asked) else ())
