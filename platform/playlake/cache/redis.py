"""A cache on any Redis (or Valkey)."""

from __future__ import annotations

import redis

from playlake import log
from playlake.settings import Settings

_log = log.get("cache")


class RedisCache:
    """Bytes by key, for a time. A cache that is down is a miss, never an error: it holds nothing that is not elsewhere.

    :param prefix: of every key, so that several lakes can share a server.
    """

    def __init__(self, settings: Settings, *, prefix: str = "playlake:", timeout_s: float = 0.25) -> None:
        self._prefix = prefix
        self._ttl = settings.cache_ttl_s
        url = settings.redis_url
        self._client = (
            redis.Redis.from_url(
                url.get_secret_value(), socket_timeout=timeout_s, socket_connect_timeout=timeout_s, protocol=2
            )
            if url
            else None
        )

    def ping(self) -> bool:
        """Whether the server answers."""
        try:
            return bool(self._client and self._client.ping())
        except redis.RedisError:
            return False

    def get(self, key: str) -> bytes | None:
        """The value, or None when it is not there or the server does not answer."""
        if self._client is None:
            return None
        try:
            value = self._client.get(self._prefix + key)
        except redis.RedisError as error:
            _log.warning("cache does not answer", error=type(error).__name__)
            return None
        return value if isinstance(value, bytes) else None

    def put(self, key: str, value: bytes, ttl_s: int | None = None) -> None:
        """Keep a value for ``ttl_s`` seconds (the setting ``cache_ttl_s`` unless given)."""
        if self._client is None:
            return
        try:
            self._client.set(self._prefix + key, value, ex=ttl_s or self._ttl)
        except redis.RedisError as error:
            _log.warning("cache does not answer", error=type(error).__name__)

    def close(self) -> None:
        """Give the connections back."""
        if self._client is not None:
            self._client.close()
