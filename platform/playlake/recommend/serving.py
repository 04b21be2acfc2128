"""Tracks like a track, from published gold, kept in the cache for each build."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from playlake.errors import UnavailableError

MOST = 10
_ATTEMPTS = 20


class Gold(Protocol):
    """Published gold (``playlake.warehouse.reader.GoldReader`` is one)."""

    def version(self) -> int | None: ...
    def query(self, name: str, **parameters: object) -> list[dict[str, Any]]: ...


class Cache(Protocol):
    """A cache (``playlake.cache.RedisCache`` is one)."""

    def get(self, key: str) -> bytes | None: ...
    def put(self, key: str, value: bytes) -> None: ...


class Recommendation(msgspec.Struct, frozen=True):
    """A track to hear next. ``score`` is 0 to 1."""

    track_id: str
    track_name: str
    artist_name: str
    score: float
    rank: int


class Recommendations(msgspec.Struct, frozen=True):
    """What goes well with a track, best first, by the build ``version``."""

    track_id: str
    track_name: str
    artist_name: str
    version: int
    recommendations: list[Recommendation]


class Recommender:
    """Answers from the cache where it can; a new build has keys of its own, so old answers end with it."""

    def __init__(self, gold: Gold, cache: Cache) -> None:
        self._gold = gold
        self._cache = cache
        self._decoder = msgspec.json.Decoder(Recommendations)

    def similar(self, track_id: str) -> tuple[Recommendations | None, bool]:
        """Recommendations for a track (None: no such track), and whether they came from the cache.

        :param track_id: its id, or one that an earlier release gave it.

        :raises UnavailableError: before the first build, or where no build stays long enough to be read.
        """
        for _ in range(_ATTEMPTS):
            version = self._gold.version()
            cached = self._from_cache(f"similar:{version}:{track_id}")
            if cached is not None:
                return cached, True
            found = self._gold.query("track", track_id=track_id)
            if not found and (alias := self._gold.query("alias", track_id=track_id)):
                found = self._gold.query("track", track_id=alias[0]["track_id"])
            rows = self._gold.query("similar_tracks", track_id=found[0]["track_id"], most=MOST) if found else []
            built = int(self._gold.query("build")[0]["version"])
            if built != version or self._gold.version() != version:
                continue  # a build was published in between: its rows and the ones before are not to be mixed
            if not found:
                return None, False
            answer = Recommendations(
                found[0]["track_id"],
                found[0]["track_name"],
                found[0]["artist_name"],
                built,
                [Recommendation(**row) for row in rows],
            )
            self._cache.put(f"similar:{version}:{track_id}", msgspec.json.encode(answer))
            return answer, False
        raise UnavailableError("The published build changes too often, or its file is not the one it is named as.")

    def _from_cache(self, key: str) -> Recommendations | None:
        cached = self._cache.get(key)
        if cached is None:
            return None
        try:
            return self._decoder.decode(cached)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None  # of another release, or not ours: made anew
