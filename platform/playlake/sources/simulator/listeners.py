"""Simulated listeners: tastes shared with friends, a week, devices, patience."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime

from playlake.sources.simulator.catalog import STYLES, Track
from playlake.sources.simulator.rhythm import Rhythm, make_rhythm

_DEVICES = {"Smartphone": 60, "Computer": 20, "Speaker": 10, "TV": 6, "Automobile": 4}
"""Percent of the listeners whose main device it is."""

_SHARES = (0.75, 0.17, 0.08)
"""Shares of a listener's sessions on the main device and the others."""


@dataclass(slots=True)
class Listener:
    """A listener. ``activity`` and ``styles`` are weights: of the listener's plays among all, and of styles in them."""

    user_id: str
    activity: float
    styles: list[float]
    devices: tuple[str, ...]
    """The main one first."""
    patience: float
    """Chance to hear a track of a loved style to its end."""
    listens_on: float
    """Chance that a track makes the listener listen to its album on."""
    rhythm: Rhythm
    favourites: list[Track] = field(default_factory=list)

    def device(self, rng: random.Random, at: datetime) -> str:
        """What a session is heard on that begins ``at`` (UTC). A car is mostly for the way to work and back."""
        ride = 6.0 if self.rhythm.commutes(at) else 0.5
        shares = [
            share * (ride if device == "Automobile" else 1.0)
            for share, device in zip(_SHARES, self.devices, strict=True)
        ]
        return rng.choices(self.devices, shares)[0]


def make_listeners(rng: random.Random, count: int) -> list[Listener]:
    """So many listeners, ``listener-0001`` and on."""
    listeners: list[Listener] = []
    for number in range(count):
        if listeners and rng.random() < 0.6:
            # A friend: the taste of somebody who is there already, a little changed.
            styles = [max(0.0, s * rng.uniform(0.6, 1.4)) for s in rng.choice(listeners).styles]
        else:
            styles = [0.02] * len(STYLES)
            for style in rng.sample(range(len(STYLES)), 3):
                styles[style] = rng.uniform(0.5, 1.5)
        listeners.append(
            Listener(
                f"listener-{number + 1:04d}",
                activity=rng.lognormvariate(0, 0.8),
                styles=styles,
                devices=_usual_devices(rng),
                patience=rng.uniform(0.7, 0.95),
                listens_on=rng.choice((0.0, 0.03, 0.06, 0.15)),
                rhythm=make_rhythm(rng),
            )
        )
    return listeners


def _usual_devices(rng: random.Random) -> tuple[str, ...]:
    """Different ones, drawn one after the other by how usual they are."""
    left = dict(_DEVICES)
    devices = []
    for _ in _SHARES:
        [device] = rng.choices(list(left), list(left.values()))
        del left[device]
        devices.append(device)
    return tuple(devices)
