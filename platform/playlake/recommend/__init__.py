"""Recommendations: serving what the warehouse computed."""

from playlake.recommend.serving import Recommendation, Recommendations, Recommender

__all__ = ["Recommendation", "Recommendations", "Recommender"]
