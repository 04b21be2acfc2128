"""Artists in clusters of style, and their tracks, popular and rare."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import accumulate

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


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """A track. ``place`` is its place on the album, from 0; ``duration_ms`` its length in milliseconds."""

    track_id: str
    name: str
    artist: str
    album: str
    place: int
    duration_ms: int
    style: int


@dataclass(frozen=True, slots=True)
class Artist:
    """An artist, with the tracks from the best known on. ``cum_weights`` are their summed shares of plays (Zipf)."""

    name: str
    tracks: tuple[Track, ...]
    cum_weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Style:
    """The artists of a style, from the best known on. ``cum_weights`` are their summed shares of plays (Zipf)."""

    artists: tuple[Artist, ...]
    cum_weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Catalog:
    """All styles, and the tracks of all albums by artist and album, in their order."""

    styles: tuple[Style, ...]
    albums: dict[tuple[str, str], tuple[Track, ...]]


def make_catalog(rng: random.Random, *, world: int, artists_per_style: int = 20) -> Catalog:
    """Styles of artists. ``world`` is part of every track's id, so that two worlds in one lake share none.

    Popularity falls off as a power of the rank, among artists and among an artist's tracks.
    """
    names = [f"{a} {b}" for a in _FIRST for b in _SECOND]
    rng.shuffle(names)
    ranks = _zipf(artists_per_style)
    styles: list[Style] = []
    albums: dict[tuple[str, str], tuple[Track, ...]] = {}
    number = 0
    for style in range(len(STYLES)):
        artists = []
        for _ in range(artists_per_style):
            name = names.pop()
            tracks: list[Track] = []
            for word in rng.sample(_FIRST, rng.choice((1, 1, 2, 2, 3))):
                album = _make_album(rng, name, f"{word} {STYLES[style].title()}", style, world, number)
                albums[name, album[0].album] = album
                number += len(album)
                tracks += album
            # The best known may be on any album, in any place.
            rng.shuffle(tracks)
            artists.append(Artist(name, tuple(tracks), _zipf(len(tracks))))
        styles.append(Style(tuple(artists), ranks))
    return Catalog(tuple(styles), albums)


def _make_album(rng: random.Random, artist: str, name: str, style: int, world: int, number: int) -> tuple[Track, ...]:
    """An album whose tracks are numbered from ``number`` + 1 on."""
    tracks = []
    for place in range(rng.randint(8, 14)):
        title = f"{rng.choice(_WORDS)} {rng.choice(_WORDS)}".capitalize()
        # One in sixty is a mix of ten minutes or more, as real listening has them.
        minutes = rng.uniform(10.5, 60) if rng.random() < 1 / 60 else rng.lognormvariate(1.25, 0.25)
        track_id = f"sim:{world}:{number + place + 1:05d}"
        tracks.append(Track(track_id, title, artist, name, place, int(minutes * 60_000), style))
    return tuple(tracks)


def _zipf(count: int) -> tuple[float, ...]:
    return tuple(accumulate(1 / (rank + 1) ** 0.9 for rank in range(count)))
