"""Listeners with tastes, drawn from a seed: the same seed gives the same events, to the byte."""

from playlake.sources.simulator.listening import Simulation, Simulator

__all__ = ["Simulation", "Simulator"]
