"""How good recommendations are: plays in, figures out. No lake and no warehouse here, numpy and pyarrow only."""

from playlake.recommend.evaluation.interactions import Plays
from playlake.recommend.evaluation.run import Comparison, Evaluation, Method, evaluate, tuned_ours
from playlake.recommend.evaluation.split import SPLITS, Fold, Folds

__all__ = ["SPLITS", "Comparison", "Evaluation", "Fold", "Folds", "Method", "Plays", "evaluate", "tuned_ours"]
