"""The cache: the only room with redis. The service works without it, only slower."""

from playlake.cache.redis import RedisCache

__all__ = ["RedisCache"]
