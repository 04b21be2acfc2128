"""The recommender: the cache makes it fast, and never makes it wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from playlake.errors import UnavailableError
from playlake.recommend import Recommender


class DictCache(dict[str, bytes]):
    """A cache that is a dictionary."""

    def put(self, key: str, value: bytes) -> None:
        self[key] = value


class DictGold:
    """Published gold that is a dictionary: track, similar tracks. The build's number is in every name."""

    def __init__(self, version: int | None, similar: dict[str, list[str]]) -> None:
        self.number = version
        self.similar = similar
        self.queries: list[str] = []
        self.before: Callable[[str], None] = lambda name: None

    def version(self) -> int | None:
        return self.number

    def query(self, name: str, **parameters: Any) -> list[dict[str, Any]]:
        self.before(name)
        self.queries.append(name)
        if self.number is None:
            raise UnavailableError("nothing published")
        if name == "build":
            return [{"version": self.number, "built_at": None}]
        track = parameters["track_id"]
        if name == "alias":
            return [{"track_id": track.removeprefix("former-")}] if track.startswith("former-") else []
        if name == "track":
            return [self._named(track) | {"play_count": 3}] if track in self.similar else []
        assert name == "similar_tracks"
        found = [
            self._named(other) | {"score": 1 / rank, "rank": rank} for rank, other in enumerate(self.similar[track], 1)
        ]
        return found[: parameters["most"]]

    def _named(self, track: str) -> dict[str, Any]:
        return {"track_id": track, "track_name": f"{track} of {self.number}", "artist_name": "Band"}


@pytest.fixture
def gold() -> DictGold:
    return DictGold(1, {"a": ["b", "c"], "lonely": [], "loved": [f"t{n}" for n in range(25)]})


@pytest.fixture
def cache() -> DictCache:
    return DictCache()


def test_first_from_gold_then_from_the_cache(gold: DictGold, cache: DictCache) -> None:
    recommender = Recommender(gold, cache)
    answer, hit = recommender.similar("a")
    assert answer is not None
    assert not hit
    assert (answer.track_id, answer.track_name, answer.artist_name, answer.version) == ("a", "a of 1", "Band", 1)
    assert [(r.track_id, r.track_name, r.rank, r.score) for r in answer.recommendations] == [
        ("b", "b of 1", 1, 1.0),
        ("c", "c of 1", 2, 0.5),
    ]
    asked = list(gold.queries)
    assert Recommender(gold, cache).similar("a") == (answer, True)
    assert gold.queries == asked  # a hit asks gold nothing


def test_a_new_build_is_not_answered_from_the_old_cache(gold: DictGold, cache: DictCache) -> None:
    recommender = Recommender(gold, cache)
    recommender.similar("a")
    gold.number, gold.similar = 2, {"a": ["d"]}
    answer, hit = recommender.similar("a")
    assert answer is not None
    assert not hit
    assert (answer.version, [r.track_name for r in answer.recommendations]) == (2, ["d of 2"])
    assert recommender.similar("a") == (answer, True)


@pytest.mark.parametrize("moment", ["track", "similar_tracks", "build"])
def test_a_build_published_while_answering(gold: DictGold, cache: DictCache, moment: str) -> None:
    def publish(name: str) -> None:
        if name == moment and gold.number == 1:
            gold.number, gold.similar = 2, {"a": ["d"]}

    gold.before = publish
    recommender = Recommender(gold, cache)
    recommender.similar("a")
    gold.number, gold.similar = 2, {"a": ["d"]}
    later, _ = recommender.similar("a")
    assert later is not None
    assert (later.version, later.track_name) == (2, "a of 2")
    assert [r.track_name for r in later.recommendations] == ["d of 2"]


def test_an_id_of_an_earlier_release_leads_to_the_track(gold: DictGold, cache: DictCache) -> None:
    recommender = Recommender(gold, cache)
    now, _ = recommender.similar("a")
    assert recommender.similar("former-a") == (now, False)
    assert recommender.similar("former-a") == (now, True)
    assert recommender.similar("former-nobody") == (None, False)


def test_an_unknown_track_is_none_and_not_cached(gold: DictGold, cache: DictCache) -> None:
    recommender = Recommender(gold, cache)
    assert recommender.similar("x") == (None, False)
    assert recommender.similar("x") == (None, False)
    assert cache == {}


def test_a_track_with_nothing_like_it(gold: DictGold, cache: DictCache) -> None:
    answer, _ = Recommender(gold, cache).similar("lonely")
    assert answer is not None
    assert answer.recommendations == []
    assert Recommender(gold, cache).similar("lonely") == (answer, True)


def test_no_more_than_ten(gold: DictGold, cache: DictCache) -> None:
    answer, _ = Recommender(gold, cache).similar("loved")
    assert answer is not None
    assert [r.rank for r in answer.recommendations] == list(range(1, 11))


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"garbage",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b'{"track_id": "a"}',
        b'{"track_id": "\xff", "track_name": "", "artist_name": "", "version": 1, "recommendations": []}',
        b'{"more": ' + b"[" * 100_000,
    ],
)
def test_garbage_in_the_cache_is_replaced(gold: DictGold, cache: DictCache, garbage: bytes) -> None:
    recommender = Recommender(gold, cache)
    answer, _ = recommender.similar("a")
    for key in cache:
        cache[key] = garbage
    assert recommender.similar("a") == (answer, False)
    assert recommender.similar("a") == (answer, True)


def test_a_build_that_is_never_the_one_named_is_told(gold: DictGold, cache: DictCache) -> None:
    gold.version = lambda: 7  # type: ignore[method-assign]  # as a damaged pointer says; the file holds build 1
    with pytest.raises(UnavailableError):
        Recommender(gold, cache).similar("a")
    assert cache == {}


def test_before_the_first_build(cache: DictCache) -> None:
    with pytest.raises(UnavailableError):
        Recommender(DictGold(None, {}), cache).similar("a")
    assert cache == {}
