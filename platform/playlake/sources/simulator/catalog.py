"""Artists in clusters of style, and their tracks, popular and rare."""

from __future__ import annotations

import random
from dataclasses import dataclass

STYLES = (
    "ambient", "bebop", "chanson", "dub", "electro", "folk", "garage", "house", "indie", "jungle", "krautrock", "lo-fi",
)  # fmt: skip
_FIRST = (
    "Amber", "Blue", "Copper", "Distant", "Electric", "Faded", "Golden", "Hollow", "Iron", "Jade", "Kind", "Lunar",
    "Midnight", "Northern", "Open", "Paper", "Quiet", "Red", "Silver", "Tidal", "Ultra", "Velvet", "Wild", "Young",
)  # fmt: skip
_SECOND = (
    "Arcades", "Birds", "Cities", "Dancers", "Echoes", "Fields", "Ghosts", "Harbours", "Islands", "Junctions", "Keys",
    "Lanterns", "Mirrors", "Nights", "Orchards", "Parades", "Rivers", "Signals", "Towers", "Valleys", "Waves", "Years",
)  # fmt: skip
_WORDS = (
    "again", "below", "come home", "daylight", "every hour", "falling", "go slow", "hold on", "in between", "just once",
    "know me", "let it rain", "morning", "never far", "over now", "passing", "remember", "stay", "tomorrow", "undone",
    "waiting", "you and I",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Track:
    """A track. ``weight`` is its share of its artist's plays."""

    track_id: str
    name: str
    artist: str
    album: str
    duration_ms: int
    style: int
    weight: float


@dataclass(frozen=True, slots=True)
class Artist:
    """An artist of one style. ``weight`` is the share among its style's listeners (Zipf)."""

    name: str
    style: int
    weight: float
    tracks: tuple[Track, ...]


def make_catalog(rng: random.Random, *, artists_per_style: int = 20, tracks_per_artist: int = 14) -> list[list[Artist]]:
    """Artists by style. Popularity falls off as a power of the rank, among artists and among an artist's tracks."""
    names = [f"{a} {b}" for a in _FIRST for b in _SECOND]
    rng.shuffle(names)
    catalog: list[list[Artist]] = []
    number = 0
    for style in range(len(STYLES)):
        artists = []
        for rank in range(artists_per_style):
            name = names.pop()
            tracks = []
            for place in range(tracks_per_artist):
                number += 1
                album = f"{rng.choice(_FIRST)} {STYLES[style].title()} {place // 7 + 1}"
                title = f"{rng.choice(_WORDS)} {rng.choice(_WORDS)}".capitalize()
                # One in sixty is a mix of ten minutes or more, as real listening has them.
                minutes = rng.uniform(10.5, 60) if rng.random() < 1 / 60 else rng.lognormvariate(1.25, 0.25)
                tracks.append(
                    Track(f"sim:{number:05d}", title, name, album, int(minutes * 60_000), style, 1 / (place + 1) ** 0.8)
                )
            artists.append(Artist(name, style, 1 / (rank + 1) ** 0.9, tuple(tracks)))
        catalog.append(artists)
    return catalog
