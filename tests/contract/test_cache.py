"""What every cache must do for playlake."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from playlake.cache import RedisCache
from playlake.settings import Settings
from tests.support.waiting import wait_for


@pytest.fixture
def cache(settings: Settings, request: pytest.FixtureRequest) -> Iterator[RedisCache]:
    made = RedisCache(settings, prefix=f"{request.node.name}:")
    yield made
    made.close()


def test_what_is_put_can_be_got(cache: RedisCache) -> None:
    assert cache.ping()
    assert cache.get("k") is None
    cache.put("k", b"\x00value\xff")
    assert cache.get("k") == b"\x00value\xff"


def test_it_lasts_as_long_as_it_is_told(cache: RedisCache) -> None:
    cache.put("short", b"1", ttl_s=1)
    cache.put("long", b"2")
    wait_for(lambda: cache.get("short") is None)
    assert cache.get("long") == b"2"


def test_prefixes_keep_lakes_apart(settings: Settings, cache: RedisCache) -> None:
    other = RedisCache(settings, prefix="other:")
    cache.put("k", b"mine")
    assert other.get("k") is None
    other.close()


def test_a_cache_that_is_down_or_wrong_is_a_miss(settings: Settings) -> None:
    from playlake.stack import ports

    for url in (f"redis://127.0.0.1:{ports.choose(1)[0]}/0", _wrong_password(settings)):
        gone = RedisCache(settings.model_copy(update={"redis_url": SecretStr(url)}))
        assert not gone.ping()
        gone.put("k", b"v")
        assert gone.get("k") is None
        gone.close()


def test_no_cache_at_all_is_a_miss(settings: Settings) -> None:
    none = RedisCache(settings.model_copy(update={"redis_url": None}))
    none.put("k", b"v")
    assert none.get("k") is None
    assert not none.ping()


def _wrong_password(settings: Settings) -> str:
    assert settings.redis_url is not None
    return "redis://:wrong@" + settings.redis_url.get_secret_value().rpartition("@")[2]
